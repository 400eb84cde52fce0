"""From scores to comparisons: areas with intervals, and tests of one method against another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fimetric.benchmark.cases import Case
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.results import Comparison, Curves
from fimetric.benchmark.scoring import Scored, areas_of
from fimetric.judging.intervals import hanley
from fimetric.metrics import Estimate, auroc
from fimetric.typing import Array

CEILING = 0.995  # of an area, from where on Hanley's interval is looked at as well
LEVEL = 0.95
OWN = "own"  # how far a set of ``LEAKS`` is
Key = tuple[str, str, int, str]  # model, method, group size, arrangement


@dataclass(frozen=True)
class Paired:
    """The mean difference in AUROC between two methods over far pairs of sets, on one resampling.

    ``family`` is ``all`` for all families, each with the same weight. The interval covers which
    test samples were drawn; models and pairs of sets are taken as they are.
    """

    family: str
    difference: Estimate
    pairs: int


@dataclass(frozen=True)
class Found:
    """All that a benchmark found, and the scores behind it.

    ``leaks`` are comparisons of the own test part with other own sets, which no method may tell
    from it.
    """

    comparisons: list[Comparison]
    scored: dict[Key, Scored]
    models: list[Case]
    leaks: list[Comparison]

    def curves(self) -> dict[tuple[str, str, str, int, str], Curves]:
        """Return the scores behind each comparison, by its key."""
        return {
            c.key: Curves(s.scores["test"], s.scores[c.other])
            for c in self.comparisons
            for s in [self.scored[c.model, c.method, c.group_size, c.arrangement]]
        }

    def paired(self, method: str, against: str, size: int) -> list[Paired]:
        """Return the differences between two methods by family and, if all have them, over all.

        They are over far pairs and models of the first seed, with groups at random. Single samples
        are compared on those that both methods saw; a costly one saw the first of each set.
        """
        differences: dict[str, list[tuple[float, Array]]] = {}
        firsts = {case.name for case in self.models if case.first}
        for c in self.comparisons:
            kind = (c.method, c.group_size, c.distance, c.arrangement)
            if kind != (method, size, "far", "random") or c.model not in firsts:
                continue
            difference = self._differences(c, against)
            if difference is not None:
                differences.setdefault(c.family, []).append(difference)
        found = {
            family: (
                np.mean([v for v, _ in each]),
                np.mean([a for _, a in each], axis=0),
                len(each),
            )
            for family, each in differences.items()
        }
        if len(found) > 1 and set(found) == {case.trained.kind for case in self.models}:
            value = np.mean([v for v, _, _ in found.values()])
            repeats = min(len(a) for _, a, _ in found.values())
            areas = np.mean([a[:repeats] for _, a, _ in found.values()], axis=0)
            found["all"] = (value, areas, sum(n for _, _, n in found.values()))
        return [Paired(family, _estimate(float(v), a), n) for family, (v, a, n) in found.items()]

    def difference(self, comparison: Comparison, against: str) -> Estimate:
        """Return by how much a method's AUROC is above another's on the same pair of sets.

        Raises:
            ValueError: where the other was not tried there, or on other groups.
        """
        found = self._differences(comparison, against)
        if found is None:
            raise ValueError(f"{against} was not tried as {comparison.key} was")
        return _estimate(*found)

    def _differences(self, c: Comparison, against: str) -> tuple[float, Array] | None:
        """Return the difference and its resamples, where both were tried on the same samples."""
        mine = self.scored[c.model, c.method, c.group_size, c.arrangement]
        theirs = self.scored.get((c.model, against, c.group_size, c.arrangement))
        if theirs is None or c.other not in theirs.scores:
            return None
        if len(mine.scores[c.other]) == len(theirs.scores[c.other]):
            joint = METHODS[c.method].joint or METHODS[against].joint
            return _difference(mine, theirs, c.other, c.group_size > 1 and joint)
        return _on_the_first(mine, theirs, c.other) if c.group_size == 1 else None


def compare(models: Sequence[Case], found: Mapping[Key, Scored]) -> Found:
    """Return the comparisons of all models, methods, group sizes and foreign sets."""
    by_name = {case.name: case for case in models}
    comparisons = [
        _comparison(by_name[model], method, size, arrangement, scored, other)
        for (model, method, size, arrangement), scored in sorted(found.items())
        for other in (*by_name[model].sets, *by_name[model].leaks)
        if other in scored.areas  # a costly method is not tried on looks
    ]
    foreign = [c for c in comparisons if c.distance != OWN]
    leaks = [c for c in comparisons if c.distance == OWN]
    return Found(foreign, dict(found), list(models), leaks)


def _comparison(
    case: Case, method: str, size: int, arrangement: str, scored: Scored, other: str
) -> Comparison:
    own, foreign = scored.scores["test"], scored.scores[other]
    area = scored.values[other]
    value, low, high = interval(area, scored.areas[other], len(own), len(foreign))
    return Comparison(
        model=case.name,
        family=case.trained.kind,
        seed=case.seed,
        own=case.own.name,
        other=other,
        distance=case.sets.get(other, OWN),
        method=method,
        group_size=size,
        arrangement=arrangement,
        auroc=value,
        low=low,
        high=high,
        own_groups=len(own),
        other_groups=len(foreign),
    )


def interval(area: float, resampled: Array, n: int, m: int) -> Estimate:
    """Return an area with its bootstrap interval, widened by Hanley's near the ceiling."""
    found = _estimate(area, resampled)
    if area < CEILING:
        return found
    other = hanley(area, n, m, LEVEL)
    return Estimate(area, min(found.low, other.low), max(found.high, other.high))


def _estimate(value: float, resampled: Array) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _difference(mine: Scored, theirs: Scored, other: str, one_way: bool) -> tuple[float, Array]:
    """Return the difference of two areas, and of them in each resample.

    Joint gradients are of groups formed in one way; both are compared on these, resampled alike.
    """
    if not one_way:
        return mine.values[other] - theirs.values[other], mine.areas[other] - theirs.areas[other]
    return _resampled_alike(_pair(mine, other), _pair(theirs, other))


def _on_the_first(mine: Scored, theirs: Scored, other: str) -> tuple[float, Array]:
    """Return ``_difference`` on the single samples that both saw: the first of each set."""
    both = (mine, theirs)
    fewest = {n: min(len(each.scores[n]) for each in both) for n in ("test", other)}
    return _resampled_alike(
        *(
            {n: each.scores[n][np.argsort(each.rows[n][:, 0])][:m] for n, m in fewest.items()}
            for each in both
        )
    )


def _pair(scored: Scored, other: str) -> dict[str, Array]:
    """Return the scores of the own and of a foreign set."""
    return {name: scored.scores[name] for name in ("test", other)}


def _resampled_alike(mine: dict[str, Array], theirs: dict[str, Array]) -> tuple[float, Array]:
    """Return the difference of the areas of two pairs of scores, the same rows in each resample."""
    (other,) = mine.keys() - {"test"}
    areas = areas_of(mine, 0)[other] - areas_of(theirs, 0)[other]
    return auroc(*mine.values()) - auroc(*theirs.values()), areas
