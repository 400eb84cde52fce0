"""A benchmark that was killed ends, called again, in the undisturbed one's files."""

import multiprocessing
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from small_grids import write_grid
from tests.killing import after_kills, content

from fimetric.benchmark import jobs, scoring
from fimetric.benchmark.config import read
from fimetric.benchmark.run import run, train
from fimetric.benchmark.writing import write_scores

LONG = os.environ.get("FIMETRIC_CHECK") == "long"


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return read(write_grid(tmp_path_factory.mktemp("grid")))


@pytest.fixture(scope="module")
def trained(grid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(grid, folder, jobs=1, progress=False)
    return folder


@pytest.fixture
def call(grid, trained, monkeypatch):
    for name in ("SINGLE", "GROUPED", "PARTITIONS"):
        monkeypatch.setattr(scoring, name, 5)

    def benchmark(folder: Path):
        if not folder.exists():
            shutil.copytree(trained, folder)
        found = run(grid, folder, jobs=1, progress=False)
        write_scores(found, folder / "scores.parquet")
        return found

    return benchmark


def test_killed_while_it_writes(call, tmp_path):
    call(tmp_path / "whole")
    expected = content(tmp_path / "whole")
    # each stage is killed at every point in a test of its own; here is how they go together
    folders = after_kills(call, tmp_path, every=17 if LONG else 67)
    assert len(folders) >= 2
    for folder in folders:
        assert content(folder) == expected, folder.name


def test_scores_that_are_read_are_written_as_those_that_were_computed(call, tmp_path):
    folder = tmp_path / "run"
    call(folder)
    expected = content(folder)
    for path in sorted((folder / "scores").rglob("*.safetensors"))[::2]:
        path.unlink()
    call(folder)
    assert content(folder) == expected


def test_damaged_scores_are_told_and_computed_again(call, tmp_path, caplog):
    folder = tmp_path / "run"
    call(folder)
    expected = content(folder)
    path = sorted((folder / "scores").rglob("*.safetensors"))[0]
    whole = path.read_bytes()
    for place in np.random.default_rng(0).choice(len(whole), size=5):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        caplog.clear()
        call(folder)
        assert f"{path} is damaged" in caplog.text
        assert "it is scored again" in caplog.text
        assert content(folder) == expected


def threads(_: int) -> int:
    return torch.get_num_threads()


@pytest.mark.parametrize("count", [1, 3])
def test_a_job_has_one_thread_however_many_there_are(count):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        work = [(1.0, threads, (i,)) for i in range(count)]
        assert jobs.do("it", work, 1, False) == [1] * count
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_process_ends_when_the_one_that_asked_is_gone(monkeypatch):
    left = []
    monkeypatch.setattr(jobs.os, "_exit", left.append)
    ours, theirs = multiprocessing.Pipe()
    watch = threading.Thread(target=jobs._end_with, args=(theirs,))
    watch.start()
    watch.join(0.05)
    assert watch.is_alive() and left == []
    ours.close()
    watch.join(10)
    assert left == [1]
    theirs.close()
