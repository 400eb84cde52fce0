"""Files that were mutated: an error that names the file, or the same numbers.

``FIMETRIC_CHECK=long`` (``make check``) takes 2,000 mutations of each kind of file.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.benchmark import scoring
from fimetric.detection.saved import KIND as DETECTOR
from fimetric.features.saved import KIND as FEATURES
from fimetric.models.folder import CONFIG
from fimetric.objectives import Objective
from fimetric.store.archive import Kind
from fimetric.training.checkpoint import STATE, read_checkpoint
from fimetric.training.run import Run

MUTATIONS = 2000 if os.environ.get("FIMETRIC_CHECK") == "long" else 20
ROWS = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
HOSTILE = (None, "4", -1, 0, 10**12, 10**30, 1e308, [], {}, [{}], True, "x" * 99, 0.5, [[[]]])


def objective() -> Objective:
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    return Objective(lambda x: (model(x) - x).square().sum(1), model)


def features(folder: Path) -> Callable[[], Any]:
    fm.extract(objective(), ROWS, folder=folder, progress=False)

    def read():
        found = fm.Features.load(folder)
        return found.values, found.losses, found.ids, found.names, found.seed, found.probe

    return read


def detector(folder: Path) -> Callable[[], Any]:
    made = objective()
    fm.Detector(made, "typicality").fit(ROWS).save(folder)

    def read():
        found = fm.Detector.load(folder, made)
        return found.calibration.scores, found.density.state(), found.group_size, found.seed

    return read


def model(folder: Path) -> Callable[[], Any]:
    fm.models.save(fm.models.build("vae", "tiny", (1, 4, 4)), folder)
    return lambda: [x.numpy() for x in fm.models.load(folder).state_dict().values()]


def checkpoint(folder: Path) -> Callable[[], Any]:
    vae = fm.models.build("vae", "tiny", (1, 4, 4))
    data = fm.data.Samples(torch.randint(0, 255, (9, 1, 4, 4), dtype=torch.uint8))
    fm.training.train(vae, data, folder.parent / "run", steps=2, validate_every=1, progress=False)
    shutil.move(folder.parent / "run" / "checkpoint", folder)
    settings = STATE.read(folder)[0].settings

    def read():
        run = Run(vae, fm.training.recipes.recipe_for("vae", steps=2))
        read_checkpoint(folder, run, settings)
        return run.step, run.rows, [x.numpy() for x in run.average.values()]

    return read


def scores(folder: Path) -> Callable[[], Any]:
    folder.mkdir()
    some = {"test": np.arange(5.0), "other": np.arange(4.0)}
    rows = {name: np.arange(len(x))[:, None] for name, x in some.items()}
    found = scoring.Scored(some, rows, {"other": 0.5}, {"other": np.linspace(0, 1, 7)}, 3)
    scoring._write(found, folder / "scores.safetensors")

    def read():
        read = scoring._read(folder / "scores.safetensors")
        return read.scores, read.values, read.areas, read.alarms

    return read


FILES: dict[str, tuple[Callable[[Path], Callable[[], Any]], Kind[Any] | None]] = {
    "features": (features, FEATURES),
    "detector": (detector, DETECTOR),
    "model": (model, CONFIG),
    "checkpoint": (checkpoint, STATE),
    "benchmark": (scores, None),
}


def mutated(content: bytes, pick: random.Random) -> bytes:
    """Return bytes with one fault of the kinds that disks, transfers and hands make."""
    at, size = pick.randrange(len(content)), pick.choice((1, 4, 64))
    return pick.choice(
        (
            lambda: (
                content[:at] + bytes([content[at] ^ 1 << pick.randrange(8)]) + content[at + 1 :]
            ),
            lambda: content[:at],
            lambda: content[:at] + content[at + size :],
            lambda: content[:at] + pick.randbytes(size) + content[at:],
            lambda: content[:at] + pick.randbytes(size) + content[at + size :],
            lambda: content[:at] + b"\0" * size + content[at + size :],
            lambda: content + content[:size],
            lambda: content[at:] + content[:at],
        )
    )()


def hostile(folder: Path, kind: Kind[Any], pick: random.Random) -> None:
    """Change a value somewhere in what a JSON file says, under a right checksum."""
    path = folder / f"{kind.name}.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    place: Any = whole["content"]
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = pick.choice(list(keys)) if keys else None
        inner = None if key is None else place[key]
        if not isinstance(inner, dict | list) or not inner or pick.random() < 0.3:
            break
        place = inner
    if key is None or (isinstance(place, dict) and pick.random() < 0.1):
        place.pop(key, None) if isinstance(place, dict) else place.append(3)
    else:
        place[key] = pick.choice(HOSTILE)
    text = msgspec.json.format(json.dumps(whole["content"]).encode())
    whole["sha256"] = kind._hash(text, whole["arrays"])
    path.write_text(json.dumps(whole), encoding="utf-8")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b, equal_nan=True) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture(params=FILES)
def case(request, tmp_path):
    make, kind = FILES[request.param]
    folder = tmp_path / request.param
    read = make(folder)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    return SimpleNamespace(folder=folder, read=read, kind=kind, files=files, right=read())


def test_a_mutated_file_is_named_or_says_the_same(case):
    pick = random.Random(0)
    told = 0
    for _ in range(MUTATIONS):
        path = pick.choice(sorted(case.files))
        path.write_bytes(mutated(case.files[path], pick))
        try:
            found = case.read()
        except (ValueError, OSError) as error:
            told += 1
            assert case.folder.name in str(error), error  # noqa: PT017
        else:
            assert same(found, case.right), path
        path.write_bytes(case.files[path])
    assert told > MUTATIONS / 4


def test_a_hostile_value_under_a_right_checksum_ends_in_an_error_that_names_the_file(case):
    if case.kind is None:
        pytest.skip("scores have no JSON")
    pick = random.Random(1)
    for _ in range(MUTATIONS):
        hostile(case.folder, case.kind, pick)
        try:
            case.read()
        except (ValueError, OSError) as error:
            assert case.folder.name in str(error), error  # noqa: PT017
        path = case.folder / f"{case.kind.name}.json"
        path.write_bytes(case.files[path])
