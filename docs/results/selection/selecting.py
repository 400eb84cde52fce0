"""How a candidate is judged: areas, false alarms and held-out log density, without foreign data."""

from dataclasses import dataclass

import numpy as np
import torch
from candidates import ALL, FURTHER, Candidate
from columns import at
from tables import SIZE, Tables, group_size, measured

from fimetric.benchmark.cases import Case
from fimetric.benchmark.variants import OUTLIERS
from fimetric.calibration import Calibration, false_alarms
from fimetric.features.groups import disjoint, means, overlapping
from fimetric.metrics import auroc

# the models that the further candidates are tried on
SOME = ("fashion_mnist-vae", "cifar10-vae", "fashion_mnist-glow", "fashion_mnist-diffusion")
ALPHA = 0.05


@dataclass(frozen=True)
class Judged:
    """What came of a candidate on one model and group size."""

    area: float  # mean AUROC over the recipes
    alarms: int  # in one half of the calibration rows
    tested: int  # how many rows that half has
    allowed: tuple[int, int]  # what 99.9% of the law of the alarms lies within
    log_density: float  # nats per row of the calibration rows
    finite: bool

    @property
    def sound(self) -> bool:
        return self.finite and self.allowed[0] <= self.alarms <= self.allowed[1]


def judge(case: Case) -> tuple[str, dict[tuple[str, int], Judged]]:
    """Return a model's name and, by candidate and group size, what came of it."""
    torch.set_num_threads(1)
    candidates = [*ALL, *(FURTHER if case.name in SOME else ())]
    tables = {name: measured(case, name) for name in dict.fromkeys(c.table for c in candidates)}
    return case.name, {
        (c.name, size): judged(c, tables[c.table], size) for c in candidates for size in sizes(c)
    }


def judged(candidate: Candidate, tables: Tables, size: int) -> Judged:
    """Fit a candidate and score the calibration rows and the outliers, in groups of a size."""
    part = {k: candidate.columns(at(t, candidate.times)) for k, t in tables.items()}
    if group_size(candidate.table) == 1:
        part = {k: _grouped(k, t, size) for k, t in part.items()}
    density = candidate.density().fit(part["fit"])
    scores = {k: density.score(t) for k, t in part.items()}
    own = scores["cal"]
    half = len(own) // 2
    tested = len(own) - half
    alarms = int(Calibration(own[:half]).reject(own[half:], ALPHA).sum())
    return Judged(
        area=float(np.mean([auroc(own, scores[recipe]) for recipe in OUTLIERS])),
        alarms=alarms,
        tested=tested,
        allowed=false_alarms(half, tested, ALPHA, 0.999),
        log_density=-float(own.mean()),
        finite=all(np.isfinite(s).all() for s in scores.values()),
    )


def _grouped(name: str, table, size: int):
    """Form groups as the benchmark does: to fit on they may overlap, to judge by they may not."""
    n = len(table)
    if name == "fit":
        return table if size == 1 else means(table, overlapping(n, size, n, 0))
    return means(table, disjoint(n, size, 0))  # in random order, singles too


def sizes(candidate: Candidate) -> tuple[int, ...]:
    """Return the group sizes that a candidate can be judged by."""
    return (1, SIZE) if group_size(candidate.table) == 1 else (SIZE,)
