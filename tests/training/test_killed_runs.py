"""Whatever happens while a run writes, the next call ends in the undisturbed run's files."""

import errno
import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch
from tests.killing import after_kills, content

from fimetric.models import build
from fimetric.store.files import DiskFullError
from fimetric.training import train
from fimetric.training.checkpoint import STATE

SHAPE = (1, 4, 4)
FILES = {"config.json", "model.safetensors", "log.csv"} | {
    f"checkpoint{name}" for name in ("", "/state.json", "/state.safetensors")
}


def run(folder: Path, steps: int = 2):
    data = torch.rand(24, *SHAPE, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    model = build("vae", {"channels": (2,), "latent": 1}, SHAPE)
    settings = {"batch_size": 8, "validate_every": 1, "warmup": 1, "lr": 0.01, "ema": 0.5}
    return train(model, data, folder, steps=steps, progress=False, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    history = run(folder)
    assert len(history.rows) == 2 and history.best_step == 2  # each validation writes a model
    return folder


def test_killed_at_any_point_of_its_writing(whole, tmp_path):
    expected = content(whole)
    assert set(expected) == FILES
    folders = after_kills(run, tmp_path)
    assert len(folders) > 25
    for folder in folders:
        assert content(folder) == expected, folder.name


def test_a_run_called_again_mends_its_log(whole):
    expected = content(whole)
    (whole / "log.csv").unlink()
    run(whole)
    assert content(whole) == expected


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "log.csv", "state"])
def test_a_full_disk_is_told_and_the_call_goes_on(whole, tmp_path, monkeypatch, name):
    write, open_ = Path.write_bytes, Path.open

    def full(path, content):
        if f"/.{name}." in str(path) or path.name.startswith(f"{name}."):
            write(path, content[:7])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    def full_when_opened(path, *arguments, **named):
        if f"/.{name}." in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open_(path, *arguments, **named)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "open", full_when_opened)
    with pytest.raises(DiskFullError, match="disk is full") as error:
        run(tmp_path / "run")
    named = "checkpoint" if name == "state" else name
    assert f"run/{named} was not written" in str(error.value)
    monkeypatch.undo()
    assert not {p for p in content(tmp_path / "run") if "unfinished" in p}
    run(tmp_path / "run")
    assert content(tmp_path / "run") == content(whole)


def test_any_flipped_bit_of_a_checkpoint_is_refused(whole):
    for path in sorted((whole / "checkpoint").iterdir()):
        good = path.read_bytes()
        meaningful = [i for i, byte in enumerate(good) if not chr(byte).isspace()]
        for place in np.random.default_rng(0).choice(meaningful, size=40):
            flipped = bytearray(good)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            with pytest.raises(ValueError, match=f"checkpoint/{path.name} "):
                run(whole)
        path.write_bytes(good)
    run(whole)


HOSTILE = {
    "step": ["4", -1, 10**30, 1e400, 5, None, [], {}],
    "best": ["0.1", {}, 1e400, -1.0],
    "best_step": ["4", -3, 3, 2.5],
    "rows": [[{}], {}, 7, [[]], [{"step": "2", "loss": 1.0, "bits_per_dim": 1.0}]],
    "settings": [[], "", 3],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, each in HOSTILE.items() for v in each])
def test_a_hostile_checkpoint_is_refused_by_name(whole, key, value):
    """Even where its checksum has been made to fit."""
    path = whole / "checkpoint" / "state.json"
    good = path.read_bytes()
    about = json.loads(good)
    about["content"][key] = value
    text = json.dumps(about["content"]).replace("Infinity", "1e400").encode()
    about["sha256"] = STATE._hash(text, about["arrays"])
    about["content"] = msgspec.Raw(text)
    path.write_bytes(msgspec.json.encode(about))
    try:
        with pytest.raises(
            ValueError, match=r"checkpoint/state\.json is damaged .*remove the folde"
        ):
            run(whole)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("text", ["[" * 9999, "{}", "[]", "", '{"version": 1}', '{"version": -1}'])
def test_what_is_no_checkpoint_is_refused_by_name(whole, text):
    path = whole / "checkpoint" / "state.json"
    good = path.read_bytes()
    path.write_text(text)
    try:
        with pytest.raises(ValueError, match=r"checkpoint/state\.json is .*remove the folder"):
            run(whole)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("average/head.bias"),
        lambda t: t.update(odd=torch.zeros(1)),
        lambda t: t.update({"other/head.bias": torch.zeros(1)}),
        lambda t: t.update({"model/head.bias": torch.zeros(99)}),
        lambda t: t.update({"average/head.bias": torch.zeros(99)}),
        lambda t: t.update({"optimiser/0/exp_avg": torch.zeros(99)}),
        lambda t: t.update({"optimiser/99/exp_avg": torch.zeros(1)}),
        lambda t: t.update({"optimiser/a/exp_avg": torch.zeros(1)}),
    ],
)
def test_tensors_of_another_run_are_refused_by_name(whole, tmp_path, change):
    folder = tmp_path / "run"
    run(folder)
    state, payload = STATE.read(folder / "checkpoint")
    tensors = safetensors.torch.load(payload)
    change(tensors)
    STATE.write(folder / "checkpoint", state, safetensors.torch.save(tensors))
    with pytest.raises(ValueError, match=r"checkpoint/state\.safetensors is damaged"):
        run(folder)
