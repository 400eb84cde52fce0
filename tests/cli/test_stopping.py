"""Commands that are stopped, by SIGTERM or a kill, and called again."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from tests.killing import Killed, after_kills, content, killing
from typer.testing import CliRunner

from fimetric import cli
from fimetric.extraction.extractor import Extractor
from fimetric.models import build, save
from fimetric.store.files import DiskFullError

DATA = ("--data", "digits", "--limit", "24", "--batch-size", "8")
ALPHA = ("--alpha", "0.5")


def fimetric(*arguments, status=0):
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if isinstance(result.exception, Killed):
        raise result.exception
    assert result.exit_code == status, (result.output, result.exception)
    return result.output


def found(folder):
    """Return the content of a folder, but for where a detector sees its model from."""
    return {n: seen(x) if n.endswith("detector.json") else x for n, x in content(folder).items()}


def seen(description):
    said = json.loads(description)
    del said["sha256"], said["content"]["opened"]["source"]
    return said


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "vae"
    save(build("vae", {"channels": [2], "latent": 1}, (1, 8, 8)), folder)
    return folder


@pytest.fixture(scope="module")
def detector(model):
    fimetric("fit", model, *DATA, "--out", model.with_name("detector"))
    return model.with_name("detector")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("fimetric.extraction.parts.PART_SECONDS", 0.0)


@pytest.fixture
def stop_in_third_batch(monkeypatch):
    """Return the samples that were seen; SIGTERM comes in the third batch."""
    seen, call, own = [], Extractor.__call__, signal.getsignal(signal.SIGTERM)

    def stopping(self, batch):
        seen.extend(batch.ids)
        if len(seen) == 24:
            signal.raise_signal(signal.SIGTERM)
        return call(self, batch)

    monkeypatch.setattr(Extractor, "__call__", stopping)
    signal.signal(signal.SIGTERM, cli.terminate)
    yield seen
    signal.signal(signal.SIGTERM, own)


def test_sigterm_stops_a_fit_that_goes_on(model, detector, tmp_path, stop_in_third_batch):
    out = tmp_path / "new"
    said = fimetric("fit", model, *DATA, "--out", out, status=143)
    assert "stopped; what was done is kept" in said
    assert "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["new.parts"]
    fimetric("fit", model, *DATA, "--out", out)
    assert len(stop_in_third_batch) == 24 + 8  # two batches of three were kept
    assert found(tmp_path) == {
        name.replace("detector/", "new/", 1): x
        for name, x in {**found(detector.parent), "new": b""}.items()
        if name == "new" or name.startswith("detector/")
    }


def test_sigterm_leaves_nothing_of_scores(model, detector, tmp_path, stop_in_third_batch):
    call = ("score", detector, "--model", model, *DATA, *ALPHA, "--out", tmp_path / "s.csv")
    fimetric(*call, status=143)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("group", [("--group-size", 2), ("--density", "layerwise-gaussian")])
def test_a_fit_by_way_of_parts_is_that_of_the_detector(model, tmp_path, group):
    import fimetric as fm
    from fimetric.detectors import DEFAULT, create
    from fimetric.objectives import from_pretrained

    fimetric("fit", model, *DATA, "--group-size", 2, *group, "--out", tmp_path / "new")
    objective = from_pretrained(model)
    density = create(group[1] if group[0] == "--density" else DEFAULT)
    data = fm.data.load("digits", limit=24).tensor()
    fm.Detector(objective, density, 2, batch_size=8).fit(data).save(tmp_path / "other")
    a, b = (fm.Detector.load(tmp_path / name, objective) for name in ("new", "other"))
    assert a.calibration.scores.tolist() == b.calibration.scores.tolist()


def test_a_fit_killed_at_any_point(model, detector, tmp_path, small_parts):
    folders = after_kills(
        lambda folder: fimetric("fit", model, *DATA, "--overwrite", "--out", folder / "detector"),
        tmp_path,
        every=9,
    )
    assert len(folders) > 3
    expected = {k: v for k, v in found(detector.parent).items() if k.startswith("detector")}
    for folder in folders:
        assert found(folder) == expected, folder.name


def test_what_a_kill_left_of_a_fit_is_removed_and_that_of_another_is_not(
    model, detector, tmp_path, small_parts
):
    out = tmp_path / "detector"
    call = ("fit", model, *DATA, "--out", out)
    with pytest.raises(Killed), killing(12):
        fimetric(*call)
    parts = content(tmp_path / "detector.parts")
    shutil.copytree(detector, out)
    os.utime(out, ns=(0, 0))
    assert "exists already" in fimetric(*call, status=1)
    assert content(tmp_path / "detector.parts") == parts
    os.utime(out)
    assert "exists already" in fimetric(*call, status=1)
    assert [p.name for p in tmp_path.iterdir()] == ["detector"]


def test_scores_killed_at_any_point(model, detector, tmp_path):
    call = ("score", detector, "--model", model, *DATA, *ALPHA)
    fimetric(*call, "--out", tmp_path / "whole" / "s.csv")
    folders = after_kills(lambda folder: fimetric(*call, "--out", folder / "s.csv"), tmp_path)
    assert len(folders) >= 3
    for folder in folders:
        assert content(folder) == content(tmp_path / "whole")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_full_disk_is_one_sentence(model, detector, tmp_path, monkeypatch, suffix):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fimetric.detection.scoring._judge", full)
    out = tmp_path / f"s{suffix}"
    said = fimetric("score", detector, "--model", model, *DATA, *ALPHA, "--out", out, status=1)
    assert said.startswith(f"error: the disk is full: {out} was not written")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_full_disk_while_parts_are_written(model, tmp_path, monkeypatch, small_parts):
    write = Path.write_bytes

    def full(path, content):
        if "00001" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    said = fimetric("fit", model, *DATA, "--out", tmp_path / "new", status=1)
    assert "error: the disk is full: " in said
    assert "new.parts/features.parts/00001 was not written" in said
    assert said.count("\n") == 1
    assert issubclass(DiskFullError, OSError)


@pytest.mark.parametrize("command", ["extract", "fit", "score", "evaluate", "analyse", "retrain"])
def test_every_command_on_a_model_takes_a_batch_size(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "--batch-size" in fimetric(command, "--help")
