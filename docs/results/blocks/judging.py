"""How a candidate is judged: areas and false alarms on own samples and outliers made of them."""

from dataclasses import dataclass

import numpy as np
import torch
from blocks import standardised
from candidates import ALL, Candidate, Found, candidates
from tables import FIT, HELD, Tables, measured

from fimetric.benchmark.cases import Case
from fimetric.calibration import Calibration, false_alarms
from fimetric.features.groups import disjoint, means
from fimetric.metrics import auroc

SIZES = (1, 5)
PARTITIONS = 5  # ways to form groups
ALPHA = 0.05


@dataclass(frozen=True)
class Judged:
    """What came of a candidate on one model and group size."""

    areas: dict[str, float]  # recipe -> AUROC, mean over the ways to form groups
    sound: bool

    @property
    def area(self) -> float:
        return float(np.mean(list(self.areas.values())))


def judge(case: Case) -> dict[tuple[Candidate, int], Judged]:
    """Return what came of each candidate on a model, by group size."""
    torch.set_num_threads(1)
    tables = measured(case)
    found = {}
    for size in SIZES:
        fitted = {
            name: standardised(block, tables[FIT], size)
            for name, block in ALL.items()
            if block.exists(tables[FIT])
        }
        told = [_told(fitted, tables, size, k) for k in range(PARTITIONS if size > 1 else 1)]
        for candidate in candidates():
            found[candidate, size] = _judged(candidate, told)
    return found


def _told(fitted, tables: Tables, size: int, way: int) -> dict[str, Found]:
    """Return, for each set but that fitted on, what each block says of its groups."""
    found = {}
    for name, table in tables.items():
        if name != FIT:
            groups = means(table, disjoint(len(table), size, way))
            found[name] = {block: score(groups) for block, score in fitted.items()}
    return found


def _judged(candidate: Candidate, told: list[dict[str, Found]]) -> Judged:
    scores = [{name: candidate.scores(each) for name, each in way.items()} for way in told]
    own = scores[0][HELD]
    areas = {
        name: float(np.mean([auroc(way[HELD], way[name]) for way in scores]))
        for name in scores[0]
        if name != HELD
    }
    finite = all(np.isfinite(each).all() for way in scores for each in way.values())
    half = len(own) // 2
    alarms = int(Calibration(own[:half]).reject(own[half:], ALPHA).sum()) if half >= 19 else 0
    least, most = false_alarms(half, len(own) - half, ALPHA, 0.999)
    return Judged(areas, finite and (half < 19 or least <= alarms <= most))
