"""How well scores tell out-of-distribution (the positive class) from in-distribution data.

All metrics take ID scores (n,) and OOD scores (m,), higher = more anomalous; they depend on the
order of the scores only, so +inf is a score like any other, and ties count as they should.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from fimetric.arguments import numbers, real, seed_of, whole
from fimetric.typing import Array

Metric = Callable[[Array, Array], float]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float

    def __str__(self) -> str:
        """Return ``[low, high]`` to three places."""
        return f"[{self.low:.3f}, {self.high:.3f}]"


class Estimate(NamedTuple):
    """A value with its confidence interval.

    >>> print(Estimate(0.9161, 0.9049, 0.927))
    0.916 [0.905, 0.927]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return ``value [low, high]`` to three places."""
        return f"{self.value:.3f} {Interval(self.low, self.high)}"


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Return P(OOD score > ID score) + P(equal) / 2: the area under the ROC curve.

    Raises:
        ValueError: where either side is empty or holds nan.

    >>> auroc([0, 1, 2], [2, 3])
    0.916...
    """
    below, above = _scores(id_scores, ood_scores)
    n, m = len(below), len(above)
    ranks = rankdata(np.concatenate([below, above]))[n:]
    return float((ranks.sum() - m * (m + 1) / 2) / (n * m))


def aupr(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Return the average precision, sum_i (R_i - R_{i-1}) P_i over falling thresholds.

    OOD is the positive class: R is the share of OOD data caught, P that of OOD data among what is
    caught. It depends on the mixture: a score that knows nothing gets m / (n + m).

    Raises:
        ValueError: where either side is empty or holds nan.

    >>> aupr([0, 1, 2], [2, 3])
    0.833...
    """
    below, above = _scores(id_scores, ood_scores)
    scores = np.concatenate([below, above])
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # ties share one threshold
    caught = np.cumsum(order >= len(below))[last]
    precision = caught / (np.flatnonzero(last) + 1)
    return float((np.diff(caught, prepend=0) * precision).sum() / len(above))


def fpr_at_tpr(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> float:
    """Return the share of ID data at or above the highest threshold that catches ``tpr`` of OOD.

    Raises:
        ValueError: where either side is empty or holds nan, or ``tpr`` is not in (0, 1].

    >>> fpr_at_tpr([0, 1, 2, 5], [2, 3, 4, 5])
    0.5
    """
    below, above = _scores(id_scores, ood_scores)
    if not 0 < real("tpr", tpr) <= 1:
        raise ValueError(f"tpr is {tpr}; it must lie in (0, 1]")
    needed = math.ceil(tpr * len(above) - 1e-9)  # 0.95 * 20 is 19 and not a little more
    needed = max(needed, 1)
    return float((below >= np.sort(above)[len(above) - needed]).mean())


def bootstrap(
    metric: Metric,
    id_scores: ArrayLike,
    ood_scores: ArrayLike,
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a metric, ID and OOD resampled apart.

    It covers the choice of test samples for one trained model, not the training of the model.

    Arguments:
        metric: function of ID scores and OOD scores.
        id_scores: (n,) scores of independent ID samples or groups.
        ood_scores: (m,) scores of independent OOD samples or groups.
        level: coverage, in (0, 1).
        repeats: number of resamplings.
        seed: seed of the resampling.

    Raises:
        ValueError: where either side is empty or holds nan, or ``level`` or ``repeats`` is absurd.
        TypeError: for a metric that is no function.

    References:
        An Introduction to the Bootstrap (Efron, Tibshirani, 1993), chapter 13
    """
    below, above = _scores(id_scores, ood_scores)
    if not callable(metric):
        raise TypeError(f"metric must be a function such as fimetric.metrics.auroc, not {metric!r}")
    if not 0 < real("level", level) < 1 or whole("repeats", repeats, 0) < 1:
        raise ValueError(f"level={level} must lie in (0, 1) and repeats={repeats} be at least 1")
    random = np.random.default_rng(seed_of(seed))
    values = [
        metric(
            below[random.integers(len(below), size=len(below))],
            above[random.integers(len(above), size=len(above))],
        )
        for _ in range(repeats)
    ]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def estimate(
    metric: Metric,
    id_scores: ArrayLike,
    ood_scores: ArrayLike,
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return the metric with its ``bootstrap`` interval, widened to hold the value."""
    below, above = _scores(id_scores, ood_scores)
    interval = bootstrap(metric, below, above, level=level, repeats=repeats, seed=seed)
    value = metric(below, above)
    # At the ends of its range a metric of a resample, which has ties, can miss its own value.
    return Estimate(value, min(value, interval.low), max(value, interval.high))


def _scores(id_scores: ArrayLike, ood_scores: ArrayLike) -> tuple[Array, Array]:
    below, above = numbers("ID scores", id_scores), numbers("OOD scores", ood_scores)
    for what, scores in (("ID", below), ("OOD", above)):
        if scores.ndim != 1 or not len(scores):
            raise ValueError(f"{what} scores have shape {scores.shape}; pass (n,) with n >= 1")
        if np.isnan(scores).any():
            raise ValueError(f"{what} scores hold nan; a score is a number or +inf")
    return below, above
