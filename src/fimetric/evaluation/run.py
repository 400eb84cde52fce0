"""How well each density tells in-distribution from out-of-distribution data, on one model.

The in-distribution data must be held out from training. A seeded permutation gives 25% to the
density, 25% to the calibration and 50% to the test; groups are formed after the permutation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fimetric.calibration import Calibration
from fimetric.data import Samples
from fimetric.detectors import DENSITIES, OF_ANY_TABLE, create
from fimetric.detectors.base import LayerDensity
from fimetric.extraction import extract
from fimetric.features.table import Features
from fimetric.metrics import aupr, auroc, estimate, fpr_at_tpr
from fimetric.objectives.base import Objective
from fimetric.progress import progress as show_progress
from fimetric.report.tables import Row
from fimetric.store.files import safe_name

ALPHA = 0.05
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    ``scores`` holds group size -> detector -> set -> scores of the test groups, ``losses`` set ->
    mean loss per dimension of the test samples in bits, ``alarms`` group size -> detector ->
    (false alarms, test groups) at level 0.05, left out where the calibration groups are too few
    for that level.
    """

    in_distribution: str
    rows: list[Row]
    scores: dict[int, dict[str, dict[str, Scores]]]
    losses: dict[str, Scores]
    alarms: dict[int, dict[str, tuple[int, int]]]


def evaluate(
    objective: Objective,
    in_distribution: Samples,
    ood: Mapping[str, Samples],
    group_sizes: Sequence[int] = (1, 5),
    densities: Sequence[str] = OF_ANY_TABLE,
    folder: Path | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Fit every density on held-out in-distribution data and score all sets.

    For groups, a density of layers is evaluated on both features of a group: the norms of the joint
    gradient, and, marked ``mean``, the mean of the samples' log norms.

    Arguments:
        objective: what is differentiated.
        in_distribution: data that the model was not trained on.
        ood: name -> data.
        group_sizes: samples to a group; the mean of log norms needs 1 among them.
        densities: names in ``fimetric.detectors.DENSITIES``.
        folder: where features are kept, so that a stopped evaluation goes on.
        seed: of the permutations and of the bootstrap.
        batch_size: samples to a forward pass; as many as memory holds if None.
        progress: show progress.

    Raises:
        ValueError: where there is nothing to compare, a name is unknown or repeated, or a set is
            too small for the group sizes; before any work is done.
    """
    _check(in_distribution, ood, group_sizes, densities)
    sets = {in_distribution.name: in_distribution, **ood}
    tables: dict[int, dict[str, Features]] = {}
    for size in sorted(set(group_sizes)):
        tables[size] = {}
        for name, samples in sets.items():
            order = np.random.default_rng(seed).permutation(len(samples))
            place = None if folder is None else folder / f"{safe_name(name)}-groups-of-{size}"
            tables[size][name] = extract(
                objective, samples.select(order.tolist()), batch_size, size, place, progress
            )
    return _evaluate(tables, in_distribution.name, densities, seed, progress)


def _check(
    in_distribution: Samples,
    ood: Mapping[str, Samples],
    group_sizes: Sequence[int],
    densities: Sequence[str],
) -> None:
    """Refuse what would fail after the extraction."""
    if not ood or not group_sizes or not densities:
        raise ValueError("evaluate needs at least one OOD set, one group size and one density")
    if in_distribution.name in ood:
        raise ValueError(f"{in_distribution.name} is in-distribution; it cannot be an OOD set too")
    for density in densities:
        create(density)
    for size in group_sizes:
        if size < 1:
            raise ValueError(f"a group size must be at least 1, not {size}")
        split(len(in_distribution) // size)
        for name, samples in ood.items():
            if len(samples) < size:
                raise ValueError(f"{name} has {len(samples)} samples, not one group of {size}")


def _evaluate(
    tables: dict[int, dict[str, Features]],
    own: str,
    densities: Sequence[str],
    seed: int,
    progress: bool,
) -> Evaluation:
    found = Evaluation(own, [], {}, {}, {})
    ood = [name for name in next(iter(tables.values())) if name != own]
    jobs = list(_jobs(tables, list(dict.fromkeys(densities))))
    with show_progress("evaluating", len(jobs), progress) as advance:
        for size, density, detector, sets in jobs:
            _add(found, size, density, detector, sets, seed)
            advance(1)
    found.rows.sort(key=lambda row: (row.group_size, ood.index(row.ood)))
    first = min(tables)
    for name, features in tables[first].items():
        test = split(len(features))[2] if name == own else slice(None)
        found.losses[name] = features.select(test).bits_per_dim
    return found


def _jobs(
    tables: dict[int, dict[str, Features]], densities: Sequence[str]
) -> Iterator[tuple[int, str, str, dict[str, Features]]]:
    """Yield group size, density, what to call the detector, and the features of all sets."""
    for size, sets in tables.items():
        for density in densities:
            yield size, density, density, sets
        if size > 1 and 1 in tables:
            means = {name: features.grouped(size) for name, features in tables[1].items()}
            for density in densities:
                if issubclass(DENSITIES[density], LayerDensity):
                    yield size, density, f"{density} (mean)", means


def _add(
    found: Evaluation, size: int, density: str, detector: str, sets: dict[str, Features], seed: int
) -> None:
    """Fit one density on one feature, and score all sets."""
    own = sets[found.in_distribution]
    fit, calibrate, test = (own.select(rows) for rows in split(len(own)))
    fitted = create(density).fit(fit)
    calibration = Calibration(fitted.score(calibrate))
    scores = {found.in_distribution: fitted.score(test)}
    scores |= {n: fitted.score(t) for n, t in sets.items() if n != found.in_distribution}
    found.scores.setdefault(size, {})[detector] = scores
    alarms = found.alarms.setdefault(size, {})
    mine = scores[found.in_distribution]
    if calibration.smallest_p <= ALPHA:
        alarms[detector] = (int(calibration.reject(mine, ALPHA).sum()), len(mine))
    for name, theirs in scores.items():
        if name != found.in_distribution:
            metrics = (estimate(m, mine, theirs, seed=seed) for m in (auroc, aupr, fpr_at_tpr))
            found.rows.append(Row(name, size, detector, *metrics))


def split(groups: int) -> tuple[slice, slice, slice]:
    """Return the rows for density (25%), calibration (25%) and test (50%).

    Raises:
        ValueError: where a part would have fewer than two groups.
    """
    quarter = groups // 4
    if quarter < 2:
        raise ValueError(
            f"{groups} in-distribution groups are too few for density, calibration and test: "
            "8 is the least, some hundreds are better"
        )
    return slice(0, quarter), slice(quarter, 2 * quarter), slice(2 * quarter, groups)
