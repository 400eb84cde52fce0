"""How well each density tells in-distribution from out-of-distribution data, on one model.

The in-distribution data must be held out from training. A seeded permutation gives 25% to the
density, 25% to the calibration and 50% to the test; groups are formed after the permutation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fimetric.data import Samples
from fimetric.detectors import OF_ANY_TABLE, create, most_parts
from fimetric.detectors.base import LayerDensity
from fimetric.extraction import extract
from fimetric.features.table import Features
from fimetric.judging.judge import Judged, Scores, estimates, judge
from fimetric.judging.splits import quarters
from fimetric.metrics import aupr, auroc, fpr_at_tpr
from fimetric.objectives.base import Objective
from fimetric.progress import progress as show_progress
from fimetric.report.tables import Row
from fimetric.store.files import safe_name


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
    scores: dict[int, dict[str, Scores]]
    losses: Scores
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
    parts = most_parts(densities)
    gradient = any(create(density).gradient for density in densities)
    tables: dict[int, dict[str, Features]] = {}
    for size in sorted(set(group_sizes)):
        tables[size] = {}
        for name, samples in sets.items():
            order = np.random.default_rng(seed).permutation(len(samples))
            place = None if folder is None else folder / f"{safe_name(name)}-groups-of-{size}"
            drawn = samples.select(order.tolist())
            tables[size][name] = extract(
                objective,
                drawn,
                batch_size,
                size,
                place,
                progress,
                parts=parts,
                gradient=gradient,
            )
    return _evaluate(tables, in_distribution.name, densities, seed, progress)


def _check(
    in_distribution: Samples,
    ood: Mapping[str, Samples],
    group_sizes: Sequence[int],
    densities: Sequence[str],
) -> None:
    """Refuse what would fail after the extraction.

    Raises:
        ValueError: see ``evaluate``.
    """
    if not ood or not group_sizes or not densities:
        raise ValueError("evaluate needs at least one OOD set, one group size and one density")
    if in_distribution.name in ood:
        raise ValueError(f"{in_distribution.name} is in-distribution; it cannot be an OOD set too")
    for density in densities:
        create(density)
    for size in group_sizes:
        if size < 1:
            raise ValueError(f"a group size must be at least 1, not {size}")
        quarters(len(in_distribution) // size)
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
    jobs = list(_jobs(tables, list(dict.fromkeys(densities))))
    judged: dict[int, dict[str, Judged]] = {}
    rows: list[Row] = []
    with show_progress("evaluating", len(jobs), progress) as advance:
        for size, density, detector, sets in jobs:
            found = judged.setdefault(size, {})[detector] = _judge(density, sets, own)
            rows += _rows(size, detector, found, own, seed)
            advance(1)
    singles = tables[min(tables)]
    order = [name for name in singles if name != own]
    tested = {**singles, own: singles[own].select(quarters(len(singles[own]))[2])}
    return Evaluation(
        own,
        sorted(rows, key=lambda row: (row.group_size, order.index(row.ood))),
        {size: {d: j.scores for d, j in each.items()} for size, each in judged.items()},
        {name: features.bits_per_dim for name, features in tested.items()},
        {
            size: {
                d: (j.alarms, len(j.scores[own])) for d, j in each.items() if j.alarms is not None
            }
            for size, each in judged.items()
        },
    )


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
                if isinstance(create(density), LayerDensity):
                    yield size, density, f"{density} (mean)", means


def _judge(density: str, sets: dict[str, Features], own: str) -> Judged:
    """Return what one density made of one feature of all sets, the own test part first."""
    fit, calibration, test = (sets[own].select(rows) for rows in quarters(len(sets[own])))
    others = {name: table for name, table in sets.items() if name != own}
    return judge(create(density), fit, {own: test, **others}, own, calibration)


def _rows(size: int, detector: str, found: Judged, own: str, seed: int) -> list[Row]:
    columns = [estimates(found.scores, own, seed, metric) for metric in (auroc, aupr, fpr_at_tpr)]
    return [Row(name, size, detector, *(each[name] for each in columns)) for name in columns[0]]
