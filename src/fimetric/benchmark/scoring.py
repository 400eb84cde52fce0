"""One method on one model: fit on own samples, score every set, resample what was scored.

Single samples, joint gradients and consecutive groups are resampled as they are. Random groups
whose row is a mean over their samples are formed many times: the area is the mean over many ways
to form them, and they are formed anew from resampled samples for its interval, which so covers
which samples were drawn and which came together. A look of the own images is resampled with them.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fimetric.benchmark.methods import METHODS, Method
from fimetric.benchmark.own import LEAKS
from fimetric.benchmark.tables import Tables
from fimetric.benchmark.variants import NEAR
from fimetric.detection.judge import Judge
from fimetric.features.groups import Index, disjoint, means, overlapping
from fimetric.features.table import Features
from fimetric.judging.intervals import counts, resampled_areas
from fimetric.judging.judge import judge
from fimetric.metrics import auroc
from fimetric.store import archive
from fimetric.store.files import whole_file
from fimetric.typing import Array

logger = logging.getLogger(__name__)

SINGLE, GROUPED = 1000, 200  # resamples
PARTITIONS = 50  # ways to form groups
ROWS = 1000  # groups of a table to be scored at once
AGAIN = "it is scored again"
VERSION = 5  # of what this module computes; a change of it scores everything anew


@dataclass(frozen=True)
class Scored:
    """Scores by one method, group size and arrangement on one model.

    Arguments:
        scores: set -> scores (groups,), higher = more anomalous; ``test`` is the own set. Of groups
            they are those of one way to form them.
        rows: set -> (groups, size) rows of the set's table that each score is of.
        values: foreign set -> AUROC.
        areas: foreign set -> AUROC (R,) in each of R resamples. The own samples drawn in resample r
            are the same for all foreign sets and all methods of one resampling.
        alarms: false alarms among the own test groups at level 0.05, and -1 where the calibration
            groups are too few for that level.
    """

    scores: dict[str, Array]
    rows: dict[str, Index]
    values: dict[str, float]
    areas: dict[str, Array]
    alarms: int

    def __post_init__(self) -> None:
        """Put the sets into one order, whether they were computed or read."""
        for name in ("scores", "rows", "values", "areas"):
            object.__setattr__(self, name, dict(sorted(getattr(self, name).items())))


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
        except ValueError as error:
            logger.warning("%s", error)
    found = score(METHODS[method], tables, size, arrangement, seed)
    _write(found, file)
    return found


def score(method: Method, tables: Tables, size: int, arrangement: str, seed: int) -> Scored:
    """Fit a method on the own part ``fit`` and score all others."""
    joint = method.joint and size > 1
    order = seed if arrangement == "random" else None
    rows = {
        name: np.arange(len(table))[:, None] if joint else disjoint(len(table), size, order)
        for name, table in tables.items()
        if name != "fit"
    }
    tables = {name: method.seen(table) for name, table in tables.items()}
    parts = {name: means(tables[name], each) for name, each in rows.items()}
    fit = tables["fit"].select(slice(min(method.skipped, len(tables["fit"]) // 2), None))
    if not joint and size > 1:
        fit = means(fit, overlapping(len(fit), size, len(tables["fit"]), seed))
    calibration = parts.pop("calibration")
    found = judge(method.density(), fit, parts, calibration=calibration)
    scores = found.scores
    alarms = -1 if found.alarms is None else found.alarms
    rows = {name: rows[name] for name in scores}
    if joint or size == 1 or order is None:
        values = {name: auroc(scores["test"], x) for name, x in scores.items() if name != "test"}
        return Scored(scores, rows, values, areas_of(scores, seed), alarms)
    judged = {name: table for name, table in tables.items() if name in scores}
    whole, areas = (_regrouped(found.fitted, judged, size, seed, each) for each in (True, False))
    values = {name: float(each.mean()) for name, each in whole.items()}
    return Scored(scores, rows, values, areas, alarms)


def areas_of(scores: dict[str, Array], seed: int) -> dict[str, Array]:
    """Return the areas (SINGLE,) of foreign sets in resamples of the scores."""
    own = scores["test"]
    drawn = counts(len(own), SINGLE, seed)
    return {
        name: resampled_areas(
            own, other, drawn, counts(len(other), SINGLE, _seed(name, seed, len(other) == len(own)))
        )
        for name, other in scores.items()
        if name != "test"
    }


def _regrouped(
    fitted: Judge, tables: Tables, size: int, seed: int, whole: bool
) -> dict[str, Array]:
    """Return the areas of foreign sets in partitions of all samples, or in resamples of them."""
    n = len(tables["test"])
    scores = {
        name: _scores(fitted, table, size, _seed(name, seed, len(table) == n), whole)
        for name, table in tables.items()
    }
    own = scores.pop("test")
    return {
        name: np.array([auroc(a, b) for a, b in zip(own, other, strict=True)])
        for name, other in scores.items()
    }


def _seed(name: str, seed: int, alike: bool) -> int:
    """Return the seed of a set's resamples: the own one for the test part and looks of it."""
    same = name in NEAR or name == LEAKS[1]
    return seed if name == "test" or (same and alike) else seed + 1


def _scores(fitted: Judge, table: Features, size: int, seed: int, whole: bool) -> Array:
    """Return scores (R, groups) of groups of all samples, or of samples drawn with replacement."""
    n = len(table) // size
    if whole:
        rows = np.concatenate([disjoint(len(table), size, seed + 2 * r) for r in range(PARTITIONS)])
    else:
        drawn = np.random.default_rng(seed).integers(len(table), size=(GROUPED, n, size))
        rows = drawn.reshape(-1, size)
    scores = [fitted.scores(means(table, part)) for part in _chunks(rows)]
    return np.concatenate(scores).reshape(-1, n)


def _chunks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS]


def _write(found: Scored, file: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {f"scores/{name}": x for name, x in found.scores.items()}
    arrays |= {f"rows/{name}": x for name, x in found.rows.items()}
    arrays |= {f"areas/{name}": x for name, x in found.areas.items()}
    arrays |= {f"values/{name}": np.array([x]) for name, x in found.values.items()}
    arrays["alarms"] = np.array([found.alarms])
    with whole_file(file) as temporary:
        temporary.write_bytes(archive.seal(archive.pack(arrays)))


def _read(file: Path) -> Scored:
    arrays = archive.unpack(archive.unseal(file.read_bytes(), file, AGAIN), file, AGAIN)
    named: dict[str, dict[str, Any]] = {
        kind: {} for kind in ("scores", "rows", "areas", "values", "alarms")
    }
    try:
        for key, x in arrays.items():
            kind, _, name = key.partition("/")
            named[kind][name] = x
        values = {name: x.item() for name, x in named["values"].items()}
        alarms = int(named["alarms"][""].item())
        return Scored(named["scores"], named["rows"], values, named["areas"], alarms)
    except (KeyError, ValueError) as error:
        raise archive.damaged(file, error, AGAIN) from error
