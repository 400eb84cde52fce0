"""Intervals for the area under a ROC curve, by resampling and by formula.

Hanley's interval holds every area A that the one found does not contradict,

    |A_found - A| <= z SE(A),    SE by Hanley and McNeil

and so, unlike a bootstrap, has a width where all scores are told apart and A_found = 1. The
inversion of that formula is method 5 of Newcombe.

References:
    The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve (Hanley,
    McNeil, 1982), Radiology 143(1).
    Confidence Intervals for an Effect Size Measure Based on the Mann-Whitney Statistic, Part 2
    (Newcombe, 2006), Statistics in Medicine 25(4).
"""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from fimetric.metrics import Interval
from fimetric.typing import Array


def hanley(area: float, n: int, m: int, level: float = 0.95) -> Interval:
    """Return the interval of an area found with n own and m foreign scores, n, m >= 1.

    >>> print(hanley(1.0, 25, 25))
    [0.919, 1.000]
    """
    z = norm.ppf((1 + level) / 2)

    def excess(other: float) -> float:
        return abs(area - other) - z * _deviation(other, n, m)

    # the formula has no width at 0 and 1 themselves, so the search stays a little inside
    low = 0.0 if area <= 0 else brentq(excess, 0.0, min(area, 1 - 1e-9))
    high = 1.0 if area >= 1 else brentq(excess, max(area, 1e-9), 1.0)
    return Interval(float(low), float(high))


def _deviation(area: float, n: int, m: int) -> float:
    """Return the standard error of an area, with the mean number of scores on a side (Newcombe)."""
    size = (n + m) / 2 - 1
    q = size * (1 - area) / (2 - area) + size * area / (1 + area)
    return math.sqrt(max(area * (1 - area) * (1 + q) / (n * m), 0.0))


def placements(own: Array, other: Array) -> Array:
    """Return (n, m): 1 where a foreign score is above an own one, 1/2 where they are equal."""
    return (other > own[:, None]) + 0.5 * (other == own[:, None])


def resampled_areas(own: Array, other: Array, own_counts: Array, other_counts: Array) -> Array:
    """Return the area (R,) in each of R resamples.

    Arguments:
        own: (n,) scores.
        other: (m,) scores.
        own_counts: (R, n) how often each own score is in a resample.
        other_counts: (R, m) the same of foreign scores.
    """
    total = own_counts.sum(1) * other_counts.sum(1)
    above = np.einsum("rm,rm->r", own_counts @ placements(own, other), other_counts)
    return above / total


def counts(n: int, repeats: int, seed: int) -> Array:
    """Return (repeats, n): how often each of n is drawn in n draws with replacement."""
    random = np.random.default_rng(seed)
    return random.multinomial(n, np.full(n, 1 / n), size=repeats).astype(np.float64)
