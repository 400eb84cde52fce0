"""The sets of sound of docs/results/modalities: windows, levels, and which clip goes where."""

import json
from itertools import product

import numpy as np
import pytest

import fimetric as fm

pytest.importorskip("pyarrow")
pytest.importorskip("soundfile")
from studies import modules


@pytest.fixture
def study():
    with modules("modalities") as imported:
        yield imported


@pytest.fixture
def clips(study):
    return study("clips")


def one_by_one(values, length):
    """Return the first start of most energy about the mean, by a loop."""
    energies = [np.var(values[i : i + length]) for i in range(len(values) - length + 1)]
    return int(np.argmax(energies))


@pytest.mark.parametrize("length", [2048, 2049, 2600])
def test_the_window_is_that_of_most_energy_about_its_mean(clips, length):
    random = np.random.default_rng(length)
    loudness = np.abs(random.standard_normal(length)).cumsum() % 3
    values = np.rint(random.standard_normal(length) * loudness * 2000 + 9000) / 32768
    start = one_by_one(values, 2048)
    np.testing.assert_array_equal(clips.loudest(values), values[start : start + 2048])


def test_a_loud_offset_does_not_draw_the_window(clips):
    values = np.linspace(0.9, 0, 6000)
    values[3900:5948] += np.resize([0.1, -0.1], 2048)
    start = one_by_one(values, 2048)
    np.testing.assert_array_equal(clips.loudest(values), values[start : start + 2048])
    assert start > 3800


@pytest.mark.parametrize("values", [np.ones(2047), np.ones(5000) / 3, np.zeros(2048), np.empty(0)])
def test_a_clip_that_is_short_or_constant_has_no_window(clips, values):
    assert clips.loudest(values) is None


def test_all_have_one_level_whatever_they_had(clips):
    random = np.random.default_rng(0)
    for scale, offset in product((1e-4, 1.0, 30.0), (0.0, 5.0)):
        found = clips.levelled(offset + scale * random.standard_normal(2048))
        assert abs(found.mean()) < 1e-12
        assert np.sqrt(np.mean(found**2)) == pytest.approx(clips.LEVEL, rel=1e-12)


@pytest.mark.parametrize("decibels", [20, 10, 0])
def test_noise_has_the_power_that_is_asked_for(clips, decibels):
    values = np.sin(np.arange(200_000) / 7)
    found = clips.noisy(values, decibels, np.random.default_rng(1))
    ratio = 10 ** (decibels / 10)
    expected = np.sqrt(ratio / (1 + ratio))  # the correlation of x and x + noise
    assert np.corrcoef(values, found)[0, 1] == pytest.approx(expected, abs=0.002)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(clips.LEVEL, rel=1e-12)


def test_values_beyond_full_scale_are_clipped_and_counted(clips):
    values = np.array([-1.5, -1.0, 0.0, 0.25, 32767 / 32768, 1.0])
    np.testing.assert_array_equal(
        clips.whole_numbers(values), [-32768, -32768, 0, 8192, 32767, 32767]
    )
    assert clips.clipped([clips.Clip("a", values, 0)]) == pytest.approx(2 / 6)


def test_faster_raises_the_pitch_and_shortens(study):
    time = np.arange(8000) / 8000
    found = study("prepare_audio").faster(np.sin(2 * np.pi * 800 * time))
    assert len(found) == 6400
    assert np.argmax(np.abs(np.fft.rfft(found[:4000]))) * 2 == 1000  # Hz


def stored(study, folder, names, length):
    """Write clips that differ, in two parts as the sets have them: test is recordings 0 to 4."""
    random, parts = np.random.default_rng(len(names)), {"train": [], "test": []}
    for name in names:
        values = random.standard_normal(length(name)) * 0.1
        part = "test" if int(name[:-4].split("_")[-1]) < 5 else "train"
        parts[part].append({"bytes": study("clips").wav(values), "path": name})
    for part, cells in parts.items():
        study("sets").write(folder, part, {"audio": cells, "label": [1] * len(cells)})


@pytest.fixture
def data(tmp_path, study, monkeypatch):
    spoken = [f"{d}_{s}_{n}.wav" for n in range(50) for d in range(2) for s in ("a", "yweweler")]
    stored(study, tmp_path / "fsdd", spoken, lambda name: 2000 if name[0] == "1" else 2600)
    for name, count in (("esc10", 320), ("music_samples", 9)):
        stored(study, tmp_path / name, [f"{name}_{n}.wav" for n in range(count)], lambda _: 2300)
    monkeypatch.setenv("FIMETRIC_DATA", str(tmp_path))


def test_no_recording_goes_to_two_parts_and_the_sixth_speaker_to_none(study, data, tmp_path):
    place = tmp_path / "made"
    study("prepare_audio").main(place)
    of = {
        "/".join(path.relative_to(place).with_suffix("").parts): fm.data.load(
            path.parent, path.stem
        )
        for path in place.rglob("*.parquet")
    }
    assert {name.split("_")[1] for name in of["sixth-speaker/test"].ids} == {"yweweler"}
    for name, numbers in (
        ("fsdd/train", range(15, 50)),
        ("fsdd-reference/test", range(5, 15)),
        ("fsdd/test", range(5)),
    ):
        assert sorted(of[name].ids) == sorted(f"0_a_{n}.wav" for n in numbers)  # 1_... are short
    for found in of.values():
        levels = found.tensor().square().mean(1).sqrt()
        assert found.shape == (2048,) and levels.numpy() == pytest.approx(0.03, rel=1e-3)
    own = of["fsdd/test"].tensor()
    np.testing.assert_array_equal(of["time-reversed/test"].tensor(), own.flip(1))
    assert {f"noise-{d}dB/test" for d in (20, 10, 0)} < set(of)
    assert [len(of[f"{name}/test"]) for name in ("esc10", "music_samples")] == [300, 9]
    assert of["music_samples/test"].ids[0] == "music_samples_0.wav"  # the test part is first
    counts = json.loads((place / "audio.json").read_text())
    assert {name: each["samples"] for name, each in counts.items()} == {
        name: len(found) for name, found in of.items()
    }
    assert counts["fsdd/test"]["left_out"] == 5


def test_a_second_call_writes_the_same_bytes(study, data, tmp_path):
    both = []
    for name in ("one", "two"):
        study("prepare_audio").main(tmp_path / name)
        files = sorted((tmp_path / name).rglob("*.*"))
        both.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert both[0] == both[1]
