"""One method on one model: fit on own samples, score every set, resample what was scored.

Single samples and joint gradients are resampled as they are. Groups whose row is a mean over their
samples are formed anew from resampled samples, so that their interval covers which samples were
drawn and which came together.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from fimetric.benchmark.intervals import counts, resampled_areas
from fimetric.benchmark.methods import METHODS, Method
from fimetric.benchmark.tables import Tables
from fimetric.calibration import Calibration
from fimetric.detectors import Density
from fimetric.features import Features
from fimetric.files import whole_file
from fimetric.groups import disjoint, means, overlapping

SINGLE, GROUPED = 1000, 200  # resamples
ROWS = 1000  # groups of a table to be scored at once
ALPHA = 0.05
VERSION = 1  # of what this module computes; a change of it scores everything anew
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Scores by one method, group size and arrangement on one model.

    Arguments:
        scores: set -> scores (groups,), higher = more anomalous; ``test`` is the own set.
        areas: foreign set -> AUROC (R,) in each of R resamples. The own samples drawn in resample r
            are the same for all foreign sets and all methods of one resampling.
        alarms: false alarms among the own test groups at level 0.05, and -1 where the calibration
            groups are too few for that level.
    """

    scores: dict[str, Array]
    areas: dict[str, Array]
    alarms: int


def scored(
    method: str, tables: Tables, size: int, arrangement: str, seed: int, place: Path, key: str
) -> Scored:
    """Return scores kept in a file, or compute and keep them.

    Arguments:
        method: a name in ``METHODS``.
        tables: set -> table; for a method of joint gradients, of groups of ``size``.
        size, arrangement: of the groups.
        seed: of groups and resamples.
        place: the file, without its key.
        key: of all tables.
    """
    what = [VERSION, method, METHODS[method].words(), size, arrangement, seed, key]
    mark = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    file = place.with_name(f"{place.name}-{mark}.safetensors")
    if file.exists():
        try:
            return _read(file)
        except SafetensorError:
            file.unlink()  # of a disk that was full; it is computed again
    found = score(METHODS[method], tables, size, arrangement, seed)
    _write(found, file)
    return found


def score(method: Method, tables: Tables, size: int, arrangement: str, seed: int) -> Scored:
    """Fit a method on the own part ``fit`` and score all others."""
    joint = method.joint and size > 1
    order = seed if arrangement == "random" else None
    parts = {
        name: table if joint else means(table, disjoint(len(table), size, order))
        for name, table in tables.items()
        if name != "fit"
    }
    fit = tables["fit"]
    if not joint and size > 1:
        fit = means(fit, overlapping(len(fit), size, len(fit), seed))
    density = method.density().fit(fit)
    scores = {name: density.score(table) for name, table in parts.items()}
    calibration = Calibration(scores.pop("calibration"))
    alarms = -1
    if calibration.smallest_p <= ALPHA:
        alarms = int(calibration.reject(scores["test"], ALPHA).sum())
    if joint or size == 1:
        areas = _areas(scores, seed)
    else:
        areas = _regrouped_areas(density, tables, size, seed)
    return Scored(scores, areas, alarms)


def _areas(scores: dict[str, Array], seed: int) -> dict[str, Array]:
    own = scores["test"]
    drawn = counts(len(own), SINGLE, seed)
    return {
        name: resampled_areas(own, other, drawn, counts(len(other), SINGLE, seed + 1))
        for name, other in scores.items()
        if name != "test"
    }


def _regrouped_areas(density: Density, tables: Tables, size: int, seed: int) -> dict[str, Array]:
    resampled = {
        name: _resampled(density, table, size, seed + (name != "test"))
        for name, table in tables.items()
        if name not in ("fit", "calibration")
    }
    own = resampled.pop("test")
    return {
        name: np.array([_area(a, b) for a, b in zip(own, other, strict=True)])
        for name, other in resampled.items()
    }


def _resampled(density: Density, table: Features, size: int, seed: int) -> Array:
    """Return (GROUPED, groups): scores of groups of samples drawn with replacement."""
    n = len(table) // size
    drawn = np.random.default_rng(seed).integers(len(table), size=(GROUPED, n, size))
    scores = [density.score(means(table, rows)) for rows in _chunks(drawn.reshape(-1, size))]
    return np.concatenate(scores).reshape(GROUPED, n)


def _chunks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS]


def _area(own: Array, other: Array) -> float:
    one, many = np.ones((1, len(own))), np.ones((1, len(other)))
    return float(resampled_areas(own, other, one, many)[0])


def _write(found: Scored, file: Path) -> None:
    arrays = {f"scores/{name}": x for name, x in found.scores.items()}
    arrays |= {f"areas/{name}": x for name, x in found.areas.items()}
    arrays["alarms"] = np.array([found.alarms])
    with whole_file(file) as temporary:
        temporary.write_bytes(safetensors.numpy.save(arrays))


def _read(file: Path) -> Scored:
    arrays = safetensors.numpy.load(file.read_bytes())

    def named(kind: str) -> dict[str, Array]:
        return {k.split("/", 1)[1]: x for k, x in arrays.items() if k.startswith(f"{kind}/")}

    return Scored(named("scores"), named("areas"), int(arrays["alarms"][0]))
