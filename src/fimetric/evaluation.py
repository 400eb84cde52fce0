"""How well each density tells in-distribution from out-of-distribution data, on one model.

The in-distribution data must be held out from training. A seeded permutation gives 25% to the
density, 25% to the calibration and 50% to the test; groups are formed after the permutation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fimetric.calibration import Calibration
from fimetric.data import Samples
from fimetric.detectors import DENSITIES, create
from fimetric.detectors.base import LayerDensity
from fimetric.extraction import extract
from fimetric.features import Features
from fimetric.metrics import aupr, auroc, estimate, fpr_at_tpr
from fimetric.objectives.base import Objective
from fimetric.report.tables import Row

ALPHA = 0.05
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    ``scores`` holds group size -> detector -> set -> scores of the test groups, ``losses`` set ->
    mean loss per dimension of the test samples in bits, ``alarms`` group size -> detector ->
    (false alarms, test groups) at level 0.05.
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
    densities: Sequence[str] = tuple(DENSITIES),
    folder: Path | None = None,
    seed: int = 0,
    batch_size: int = 64,
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
        batch_size: samples to a forward pass.
        progress: show progress.
    """
    sets = {in_distribution.name: in_distribution, **ood}
    if len(sets) <= len(ood):
        raise ValueError(f"{in_distribution.name} is in-distribution; it cannot be an OOD set too")
    tables: dict[int, dict[str, Features]] = {}
    for size in sorted(set(group_sizes)):
        tables[size] = {}
        for name, samples in sets.items():
            order = np.random.default_rng(seed).permutation(len(samples))
            place = None if folder is None else folder / f"{name}-groups-of-{size}"
            tables[size][name] = extract(
                objective, samples.select(order.tolist()), batch_size, size, place, progress
            )
    return _evaluate(tables, in_distribution.name, densities, seed)


def _evaluate(
    tables: dict[int, dict[str, Features]], own: str, densities: Sequence[str], seed: int
) -> Evaluation:
    found = Evaluation(own, [], {}, {}, {})
    for size, sets in tables.items():
        variants = {"": sets}
        if size > 1 and 1 in tables:
            variants[" (mean)"] = {n: t.grouped(size) for n, t in tables[1].items()}
        found.scores[size], found.alarms[size] = {}, {}
        for variant, tabled in variants.items():
            for density in densities:
                if not variant or issubclass(DENSITIES[density], LayerDensity):
                    _add(found, size, density, density + variant, tabled, seed)
    first = min(tables)
    for name, features in tables[first].items():
        test = split(len(features))[2] if name == own else slice(None)
        found.losses[name] = features.select(test).bits_per_dim
    return found


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
    found.scores[size][detector] = scores
    mine = scores[found.in_distribution]
    if calibration.smallest_p <= ALPHA:
        found.alarms[size][detector] = (int(calibration.reject(mine, ALPHA).sum()), len(mine))
    for name, theirs in scores.items():
        if name != found.in_distribution:
            metrics = (estimate(m, mine, theirs, seed=seed) for m in (auroc, aupr, fpr_at_tpr))
            found.rows.append(Row(name, size, detector, *metrics))
    found.rows.sort(key=lambda row: (list(found.scores).index(row.group_size), row.ood))


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
