"""Models of sounds are trained on folders of clips, opened, fitted and scored by the commands."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from fimetric.cli import app
from fimetric.data import load
from fimetric.models import build
from fimetric.models import load as load_model
from fimetric.training import train

KINDS = ("wavenet", "spectrogram")
LENGTH = 512


def wav(values: np.ndarray, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, values, rate, format="WAV")
    return file.getvalue()


def write(path, clips) -> None:
    cells = [{"bytes": wav(clip), "path": f"{i}.wav"} for i, clip in enumerate(clips)]
    pq.write_table(pa.table({"audio": cells}), path)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with clips, and a model of each kind that was trained on them."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "clips").mkdir()
    random = np.random.default_rng(0)
    write(folder / "clips" / "train.parquet", 0.1 * random.standard_normal((60, LENGTH)))
    write(folder / "clips" / "test.parquet", 0.1 * random.standard_normal((40, LENGTH)))
    (folder / "hum").mkdir()
    hum = 0.1 * np.sin(np.arange(LENGTH) * random.uniform(0.1, 0.9, (20, 1)))
    write(folder / "hum" / "test.parquet", hum)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind in KINDS:
            options = "--config tiny --steps 3 --batch-size 8"
            assert "bits per dimension" in call(f"train {kind} --data clips --out {kind} {options}")
        yield folder


def call(line):
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_takes_clips(work, kind):
    assert f"{LENGTH}" in call(f"inspect {kind} --data clips")
    call(f"fit {kind} --data clips --density likelihood --out {kind}-detector")
    call(f"score {kind}-detector --data clips --out {kind}.csv")
    table = pyarrow.csv.read_csv(f"{kind}.csv")
    assert table["id"].to_pylist() == [f"{i}.wav" for i in range(40)]
    assert np.isfinite(table["score"].to_numpy()).all()
    options = f"--density kde --group-size 1 --out {kind}-table"
    said = call(f"evaluate {kind} --id clips --ood hum {options}")
    assert "Bits per dimension on 20 held-out samples of clips" in said and "PNG" not in said
    assert not list((work / f"{kind}-table").glob("samples*"))


@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_decoded_once_and_train_as_tensors_do(work, kind, tmp_path, monkeypatch):
    clips = load("clips", "train")
    decoded = clips.tensor()
    settings = {"steps": 3, "batch_size": 8, "validate_every": 3, "progress": False}
    one = build(kind, "tiny", (LENGTH,))
    train(one, decoded, tmp_path / "tensor", **settings)
    counted = []
    sound = type(clips.sounds[0])
    real = sound.clip
    monkeypatch.setattr(sound, "clip", lambda self, rate: counted.append(1) or real(self, rate))
    other = build(kind, "tiny", (LENGTH,))
    train(other, clips, tmp_path / "clips", **settings)
    assert len(counted) == 60
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_bands_are_standardised_by_all_of_the_training_part(work):
    """57 of 60 clips are trained on, and a batch has 8."""
    model, clips = load_model("spectrogram"), load("clips", "train").tensor()
    z = model.encoder.log_mel(clips).double()
    # three clips held out move a mean and a deviation by some hundredths of the deviation
    mean, deviation = z.mean((0, 1, 3)), z.std((0, 1, 3))
    assert ((model.encoder.mean[:, 0] - mean).abs() < 0.05 * deviation).all()
    assert ((model.encoder.deviation[:, 0] / deviation - 1).abs() < 0.05).all()


@pytest.mark.parametrize("kind", KINDS)
def test_clips_that_do_not_fit_are_refused(work, kind, tmp_path):
    write(tmp_path / "train.parquet", [np.zeros(LENGTH), np.zeros(LENGTH + 1)])
    with pytest.raises(TypeError, match=r"512 to 513 values, which .*; cut them to one length"):
        train(build(kind, "tiny", (LENGTH,)), load(tmp_path, "train"), tmp_path / "m", steps=1)
    loud = torch.full((5, LENGTH), 1000.0)
    with pytest.raises(ValueError, match=r"1000, where \[-1, 1\] is expected"):
        train(build(kind, "tiny", (LENGTH,)), loud, tmp_path / "n", steps=1)
    write(tmp_path / "test.parquet", [np.zeros(LENGTH - 1)])
    line = f"fit {kind} --data {tmp_path} --out {kind}-none"
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == 1 and "the model takes (512,)" in " ".join(found.output.split())
