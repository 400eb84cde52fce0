"""Averages of AUROCs over pairs of sets, by family and over all families.

The AUROC of a pair (own set, foreign set) is the mean over the models of a family that were
trained on the own set, which differ in their seed. A family's average is the mean over its pairs,
each of equal weight; the average over all families gives each family equal weight, so that one
with more pairs counts no more than the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fimetric.benchmark.page.words import short
from fimetric.benchmark.results import Comparison
from fimetric.typing import Array

ALL = "all"
Pairs = Mapping[tuple[str, str], list[float]]  # (own, other) -> AUROC of each seed


class Setting(NamedTuple):
    """What comparisons must share to be averaged, but for the family."""

    distance: str
    group_size: int
    arrangement: str
    method: str


@dataclass(frozen=True)
class Average:
    """How well one method does on average over pairs of sets.

    Arguments:
        family: of the models, or ``ALL``.
        setting: distance of the foreign sets, size and arrangement of the groups, and method.
        mean: of the pairs' AUROCs.
        lower, upper: their quartiles.
        worst: the lowest of them.
        worst_family, worst_pair: where it is; own and foreign set.
        pairs: how many there are; over all families, in all together.
    """

    family: str
    setting: Setting
    mean: float
    lower: float
    upper: float
    worst: float
    worst_family: str
    worst_pair: tuple[str, str]
    pairs: int

    @property
    def where(self) -> str:
        """The worst pair in words, with the family where that is not said already."""
        own, other = self.worst_pair
        family = f"{self.worst_family}, " if self.family == ALL else ""
        return f"{family}{own} → {short(own, other)}"


def averages(comparisons: Sequence[Comparison]) -> list[Average]:
    """Return the averages for each family and for all, where all families have the method.

    They come by family in order of appearance with ``ALL`` last, far before near, by rising group
    size, and by arrangement and method in order of appearance.

    Raises:
        ValueError: where a comparison is given twice.
    """
    _check(comparisons)
    families = list(dict.fromkeys(c.family for c in comparisons))
    found = []
    for setting, tables in _collect(comparisons).items():
        found += [_average(f, setting, {f: tables[f]}) for f in families if f in tables]
        if len(tables) == len(families):
            found.append(_average(ALL, setting, tables))
    arrangements = list(dict.fromkeys(c.arrangement for c in comparisons))
    methods = list(dict.fromkeys(c.method for c in comparisons))

    def place(average: Average) -> tuple[int, str, int, int, int]:
        distance, size, arrangement, method = average.setting
        family = len(families) if average.family == ALL else families.index(average.family)
        return family, distance, size, arrangements.index(arrangement), methods.index(method)

    return sorted(found, key=place)


def _check(comparisons: Sequence[Comparison]) -> None:
    seen = set()
    for c in comparisons:
        if c.key in seen:
            raise ValueError(f"the comparison {c.key} is given twice; pass each once")
        if c.family == ALL:
            raise ValueError(
                f"{c.model} is of a family called {ALL!r}; that stands for all of them"
            )
        seen.add(c.key)


def _collect(comparisons: Sequence[Comparison]) -> dict[Setting, dict[str, Pairs]]:
    """Return the AUROCs by setting, family and pair."""
    found: dict[Setting, dict[str, dict[tuple[str, str], list[float]]]] = {}
    for c in comparisons:
        setting = Setting(c.distance, c.group_size, c.arrangement, c.method)
        pairs = found.setdefault(setting, {}).setdefault(c.family, {})
        pairs.setdefault((c.own, c.other), []).append(c.auroc)
    return {setting: dict(tables) for setting, tables in found.items()}


def _average(family: str, setting: Setting, tables: Mapping[str, Pairs]) -> Average:
    names = [(name, pair) for name, pairs in tables.items() for pair in pairs]
    values = np.array([np.mean(v) for pairs in tables.values() for v in pairs.values()])
    weights = np.concatenate([np.full(len(p), 1 / len(p) / len(tables)) for p in tables.values()])
    lower, upper = _quantiles(values, weights, (0.25, 0.75))
    worst = int(values.argmin())
    return Average(
        family=family,
        setting=setting,
        mean=float((weights * values).sum()),
        lower=lower,
        upper=upper,
        worst=float(values[worst]),
        worst_family=names[worst][0],
        worst_pair=names[worst][1],
        pairs=len(values),
    )


def _quantiles(values: Array, weights: Array, levels: Sequence[float]) -> list[float]:
    """Return weighted quantiles by linear interpolation; numpy's where all weights are equal."""
    order = values.argsort()
    middles = weights[order].cumsum() - weights[order] / 2
    middles = (middles - middles[0]) / max(middles[-1] - middles[0], 1e-300)  # one value: 0 / tiny
    return [float(np.interp(level, middles, values[order])) for level in levels]
