"""Sounds in files: mono float32, of one rate, each of its own length, decoded when asked for."""

import io
import os
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from fimetric.data import Clips, Spec, batches, load, sounds
from fimetric.data.named import Named

RATE = 8000
LENGTHS = (800, 1200, 800, 500)


def tone(n: int, hertz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)


def written(x: np.ndarray, kind: str = "WAV", rate: int = RATE) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, x, rate, format=kind)
    return out.getvalue()


def folder(path: Path, suffix: str = "wav") -> list[np.ndarray]:
    """Write clips, and return what soundfile makes of them."""
    for i, n in enumerate(LENGTHS):
        soundfile.write(path / f"c{i + 8}.{suffix}", tone(n, 200 + 100 * i), RATE)
    return [soundfile.read(path / f"c{i + 8}.{suffix}")[0] for i in range(len(LENGTHS))]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_files_of_a_folder_are_clips(suffix, tmp_path):
    expected = folder(tmp_path, suffix)
    found = load(tmp_path)
    assert isinstance(found, Clips) and found.rate == RATE
    assert found.ids == [f"c{i}.{suffix}" for i in (8, 9, 10, 11)]  # as a person would sort them
    assert found.spec == Spec("floats", (None,), rate=RATE)
    for clip, x in zip(found.raw(range(4)), expected, strict=True):
        assert clip.dtype == torch.float32
        np.testing.assert_array_equal(clip.numpy(), x.astype(np.float32))
    assert len(load(tmp_path, limit=2)) == 2
    alone = load(tmp_path / f"c8.{suffix}")
    assert alone.ids == [f"c8.{suffix}"] and torch.equal(alone.raw([0])[0], found.raw([0])[0])
    assert torch.equal(found.select([3, 1])[0]["x"], found.raw([3])[0])


def test_sounds_in_parquet_and_of_the_hub_come_with_labels_and_names(tmp_path, monkeypatch):
    cells = [{"bytes": written(tone(n)), "path": f"p{n}.wav"} for n in LENGTHS[:2]]
    pq.write_table(pa.table({"audio": cells, "label": [4, 5]}), tmp_path / "test.parquet")
    rows = datasets.Dataset.from_dict({"audio": cells, "label": [4, 5]})
    rows = rows.cast_column("audio", datasets.Audio(decode=False))
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: rows)
    for found in (load(tmp_path), load("some/set")):
        assert found.ids == ["p800.wav", "p1200.wav"] and found.kept == {"label": [4, 5]}
        assert [len(clip) for clip in found.raw([0, 1])] == [800, 1200]
    rows.rename_column("audio", "voice").to_parquet(tmp_path / "named.parquet")
    pq.write_table(pa.table({"said": [c["bytes"] for c in cells]}), tmp_path / "bytes.parquet")
    for file, column in (("named", "voice"), ("bytes", "said")):
        found = load(tmp_path / f"{file}.parquet", column=column)
        assert isinstance(found, Clips) and len(found.raw([1])[0]) == 1200


@pytest.mark.parametrize("kind", ["decoded", "as files", "dictionaries", "paths", "a column"])
def test_sounds_of_a_data_set_in_memory_are_decoded_as_those_in_files(kind, tmp_path):
    expected = folder(tmp_path)
    paths = sorted(tmp_path.glob("*.wav"), key=lambda path: int(path.stem[1:]))
    cells = [{"bytes": path.read_bytes(), "path": None} for path in paths]
    rows = datasets.Dataset.from_dict({"sound": list(map(str, paths)), "word": list("abcd")})
    if kind != "paths":
        rows = datasets.Dataset.from_dict({"sound": cells, "word": list("abcd")})
    if kind != "dictionaries":
        rows = rows.cast_column("sound", datasets.Audio(decode=kind != "as files"))
    alone = kind == "a column"
    found = list(batches(rows["sound"] if alone else rows, 4, condition=None if alone else "word"))
    clips = [clip for batch in found for clip in batch.x]
    for clip, x in zip(clips, expected, strict=True):
        np.testing.assert_array_equal(clip.numpy(), x.astype(np.float32))
    assert {batch.rate for batch in found} == {RATE}
    if not alone:
        assert [word for batch in found for word in batch.kept["word"]] == list("abcd")
        read = batches(rows, 4, prepare=lambda texts: torch.tensor([[ord(t)] for t in texts]))
        assert [text for batch in read for text in batch.raw] == list("abcd")


def test_a_data_set_of_sounds_is_resampled_as_its_column_says_and_no_stream(tmp_path):
    folder(tmp_path)
    paths = list(map(str, sorted(tmp_path.glob("*.wav"))))
    rows = datasets.Dataset.from_dict({"audio": paths})
    rows = rows.cast_column("audio", datasets.Audio(sampling_rate=RATE // 2))
    assert {batch.rate for batch in batches(rows, 2)} == {RATE // 2}
    with pytest.raises(TypeError, match=r"streams sounds in 'audio', .* give a Dataset"):
        list(batches(rows.to_iterable_dataset(), 2))


def test_channels_are_mixed_by_their_mean(tmp_path, caplog):
    left, right = tone(800), tone(800, 300)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="DOUBLE")
    clip = load(tmp_path).raw([0])[0]
    np.testing.assert_allclose(clip.numpy(), (left + right) / 2, atol=1e-7)
    assert "1 of 1 clips of" in caplog.text and "mixed to one by their mean" in caplog.text


@pytest.mark.parametrize("rate", [16000, 6000, 7999])
def test_clips_are_resampled(rate, tmp_path):
    expected = folder(tmp_path)
    soundfile.write(tmp_path / "z.wav", tone(2000, rate=rate), rate)  # has this rate already
    found = load(tmp_path, rate=rate)
    assert found.rate == found.spec.rate == rate
    np.testing.assert_allclose(found.raw([4])[0], tone(2000, rate=rate), atol=1e-4)
    clip, up, down = found.raw([1])[0].numpy(), rate, RATE
    np.testing.assert_allclose(clip, resample_poly(expected[1], up, down), atol=1e-6)
    inner = slice(len(clip) // 4, -len(clip) // 4)  # a tone stays the tone
    np.testing.assert_allclose(clip[inner], tone(len(clip), 300, rate)[inner], atol=2e-3)
    lengths = [sound.length(rate) for sound in found.sounds]
    assert [len(clip) for clip in found.raw(range(5))] == lengths


def test_other_rates_are_refused_by_name(tmp_path):
    folder(tmp_path)
    soundfile.write(tmp_path / "z.flac", tone(100), 44100)
    said = r"c8\.wav has 8000 values a second, .*z\.flac has 44100; pass rate=8000"
    with pytest.raises(ValueError, match=said):
        load(tmp_path)


def test_batches_are_of_one_length_in_the_order_given(tmp_path):
    expected = folder(tmp_path)
    parts = list(batches(load(tmp_path), 8))
    assert [tuple(batch.x.shape) for batch in parts] == [(1, n) for n in LENGTHS]
    assert [batch.ids[0] for batch in parts] == [f"c{i}.wav" for i in (8, 9, 10, 11)]
    assert {batch.rate for batch in parts} == {RATE} and {batch.raw for batch in parts} == {None}
    for batch, x in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(batch.x[0].numpy(), x.astype(np.float32))
    same = load(tmp_path).select([0, 2])
    [batch] = batches(same, 8)
    assert batch.x.shape == (2, 800) == same.tensor().shape and same.shape == (800,)


def test_a_set_fitted_at_one_rate_takes_no_other(tmp_path):
    folder(tmp_path)
    own, others = (list(batches(load(tmp_path, rate=rate), 8)) for rate in (None, 16000))
    first, other = own[0], others[0]
    spec = Spec.of(*own)
    assert spec.rate == RATE and spec.shape == (None,)
    assert spec.difference(Spec.of(*others)) == "sounds of 16000 values a second, not 8000"
    with pytest.raises(ValueError, match=r"16000 values a second, where 8000 .*rate=8000"):
        spec.check(other)
    with pytest.raises(ValueError, match="differ in rate: 8000 and 16000"):
        Spec.of(first, other)
    soundfile.write(tmp_path / "fast.wav", tone(800), 16000)
    [fast] = batches(load(tmp_path / "fast.wav"), 1)
    with pytest.raises(ValueError, match=r"samples differ: c8.wav has 8000 .*, fast.wav has 16000"):
        list(batches([first, fast], 2))


WAVE, FLAC = written(tone(8000)), written(tone(80000), "FLAC")
OGG, MP3 = written(tone(80000), "OGG"), written(tone(80000), "MP3")
BAD = {  # file, its bytes -> words of the refusal
    "no sound": ("a.wav", b"hello world" * 20, r"a\.wav is damaged or no sound.*Format not recog"),
    "a picture": ("a.wav", b"\x89PNG\r\n\x1a\n" + bytes(99), r"a\.wav is damaged or no sound"),
    "no MP3": ("a.mp3", b"hello world" * 20, r"a\.mp3 is damaged or no sound.*repair, convert"),
    "nothing": ("a.flac", b"", r"a\.flac is empty|damaged or no sound"),
    "a head alone": ("a.wav", written(np.zeros(0)), r"a\.wav holds no sound: it has 0 values"),
    "a cut WAV": ("a.wav", WAVE[:-1000], r"a\.wav is damaged \(it ends too soon"),
    "a cut OGG": ("a.ogg", OGG[:-500], r"a\.ogg is damaged"),
}


@pytest.mark.parametrize("place", ["file", "folder", "parquet"])
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_is_named(name, place, tmp_path):
    file, data, said = BAD[name]
    (tmp_path / file).write_bytes(data)
    source = tmp_path if place == "folder" else tmp_path / file
    if place == "parquet":
        pq.write_table(pa.table({"audio": [WAVE, data]}), tmp_path / "b.parquet")
        source, said = (
            tmp_path / "b.parquet",
            said.replace(file.replace(".", r"\."), "column 'audio'"),
        )
    with pytest.raises(ValueError, match=said) as caught:
        load(source)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        ("a.flac", FLAC[: len(FLAC) // 2], r"a\.flac is damaged \(flac decoder lost sync\); copy"),
        ("a.mp3", MP3[: len(MP3) // 2], r"a\.mp3 is damaged \(it ends after \d+ of 80000 values"),
    ],
)
def test_what_ends_too_soon_is_named_when_it_is_decoded(file, data, said, tmp_path):
    (tmp_path / file).write_bytes(data)
    with pytest.raises(ValueError, match=said):
        list(batches(load(tmp_path / file), 4))


def test_a_name_does_not_make_the_kind(tmp_path):
    (tmp_path / "a.mp3").write_bytes(WAVE)
    assert load(tmp_path / "a.mp3").tensor().shape == (1, 8000)


def test_a_stream_of_unknown_length_is_whole(tmp_path):
    endless = WAVE.replace(len(WAVE[44:]).to_bytes(4, "little"), b"\xff\xff\xff\xff")
    (tmp_path / "a.wav").write_bytes(endless)
    assert load(tmp_path / "a.wav").shape == (8000,)


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"size": 8}, ValueError, "size=8 does not concern .*, which holds sounds"),
        ({"column": "audio"}, ValueError, "column='audio' does not concern"),
        ({"rate": 0}, ValueError, "rate must be at least 1"),
        ({"rate": 8000.5}, TypeError, "rate must be a whole number"),
        ({"rate": "8k"}, TypeError, "rate must be a whole number"),
        ({"limit": 0}, ValueError, "limit must be at least 1"),
    ],
)
def test_what_cannot_be_asked_of_sounds(asked, kind, said, tmp_path):
    folder(tmp_path)
    with pytest.raises(kind, match=said):
        load(tmp_path, **asked)


def test_sounds_among_pictures_are_told_from_neither(tmp_path):
    folder(tmp_path)
    (tmp_path / "cover.png").write_bytes(b"?")
    with pytest.raises(ValueError, match="holds pictures and sounds; name a folder"):
        load(tmp_path)
    with pytest.raises(ValueError, match="rate=8000 does not concern digits, which holds pictures"):
        load("digits", rate=8000)


def test_clips_of_several_lengths_make_no_tensor(tmp_path):
    folder(tmp_path)
    found = load(tmp_path)
    for call in (lambda: found.shape, found.tensor, lambda: Named().open(str(tmp_path), (800,))):
        with pytest.raises(TypeError, match=r"holds clips of 500 to 1200 values, .*one tensor"):
            call()
    with pytest.raises(TypeError, match="decoded when they are asked for"):
        _ = found.values
    assert Named(limit=1, rate=4000).open(str(tmp_path), (400,)).rate == 4000


def test_too_long_a_clip_is_not_decoded(tmp_path, monkeypatch):
    folder(tmp_path)
    monkeypatch.setattr(sounds, "LONGEST", 1199)
    with pytest.raises(ValueError, match=r"c9\.wav has 1200 values .* cut it into shorter"):
        load(tmp_path)


def test_without_soundfile_the_remedy_is_named(tmp_path, monkeypatch):
    folder(tmp_path)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match=r"pip install 'fimetric\[audio\]'"):
        load(tmp_path)


@pytest.mark.skipif("FIMETRIC_DATA" not in os.environ, reason="FIMETRIC_DATA is not set")
def test_real_sounds():
    found = load("fsdd", "test", limit=20)
    rows = pq.read_table(Path(os.environ["FIMETRIC_DATA"]) / "fsdd/test.parquet").to_pylist()[:20]
    assert found.rate == RATE and found.ids == [row["audio"]["path"] for row in rows]
    assert found.kept["label"] == [row["label"] for row in rows]
    for clip, row in zip(found.raw(range(20)), rows, strict=True):
        x, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
        np.testing.assert_array_equal(clip.numpy(), x)
