"""Scores as few numbers: a histogram over shared bins and a thinned ROC curve.

Scores may span many orders of magnitude and may be +inf. The axis goes from the lower to the
higher of both sets' 1% and 99% quantiles; one bin at each end holds what lies beyond, and one more
what is infinite. Where that range is wide against the own scores' interquartile range q, the axis
is asinh((s - m) / q), m the own scores' median: linear about the own set, logarithmic far from it.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from matplotlib.ticker import MaxNLocator

from fimetric.benchmark.results import Curves
from fimetric.typing import Array

BINS = 37  # of the axis; with the bins below, above and at infinity 40
POINTS = 60  # of a ROC curve, at most
WIDE = 40.0  # interquartile ranges of the own scores
LARGEST = 1e150  # squares are still finite
Map = Callable[[Array], Array]


class Binned(TypedDict):
    """What the page draws: counts (40,) of both sides, ticks at places in [0, 1], and a ROC curve.

    ``roc`` holds false and true positive rates in turns, in thousandths. ``wide`` says that the
    axis is asinh.
    """

    own: list[int]
    other: list[int]
    ticks: list[tuple[float, str]]
    wide: bool
    roc: list[int]


def binned(curves: Curves) -> Binned:
    """Return histograms and the ROC curve of both sides' scores.

    Raises:
        ValueError: where a side is empty or holds nan.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (curves.own, curves.other)]
    if any(not len(side) or np.isnan(side).any() for side in sides):
        raise ValueError("a side without scores, or with nan among them, has no curve")
    finite = [np.clip(side[np.isfinite(side)], -LARGEST, LARGEST) for side in sides]
    low, high = _range(finite)
    forth, back, wide = _axis(finite[0], low, high)
    ends = forth(np.array([low, high]))

    def place(scores: Array) -> Array:
        return (forth(scores) - ends[0]) / (ends[1] - ends[0])

    wanted = back(ends[0] + np.linspace(0.1, 0.9, 5) * (ends[1] - ends[0]))
    if not wide:
        wanted = np.asarray(MaxNLocator(5).tick_values(low, high))
    own, other = (
        [*_counts(place(some)), int((side == np.inf).sum())]
        for some, side in zip(finite, sides, strict=True)
    )
    ticks = _ticks(wanted, place)
    return Binned(own=own, other=other, ticks=ticks, wide=wide, roc=_roc(*sides))


def _range(sides: Sequence[Array]) -> tuple[float, float]:
    ends = [np.quantile(side, (0.01, 0.99)) for side in sides if len(side)]
    low = float(min((end[0] for end in ends), default=0.0))
    high = float(max((end[1] for end in ends), default=1.0))
    return low, max(high, low + 1e-6 * max(abs(low), 1.0))  # all alike: an axis of some length


def _axis(own: Array, low: float, high: float) -> tuple[Map, Map, bool]:
    """Return the map from scores to places on the axis, its inverse, and whether it is asinh."""
    if len(own):
        quarter, middle, three = np.quantile(own, (0.25, 0.5, 0.75))
        spread = three - quarter
        if 0 < WIDE * spread < high - low:
            # Nothing overflows: a spread of 1e-150 is below the rounding of what it divides.
            spread = max(spread, 1e-12 * (high - low))
            return (
                lambda s: np.arcsinh((s - middle) / spread),
                lambda u: middle + spread * np.sinh(u),
                True,
            )
    return np.asarray, np.asarray, False


def _counts(places: Array) -> list[int]:
    """Return how many lie below the axis, in each of its bins, and above it."""
    inside = np.clip((places * BINS).astype(int), 0, BINS - 1) + 1
    index = np.where(places < 0, 0, np.where(places > 1, BINS + 1, inside))
    return [int(n) for n in np.bincount(index, minlength=BINS + 2)]


def _ticks(wanted: Array, place: Map) -> list[tuple[float, str]]:
    """Return places and labels, with the fewest digits that put each where it was wanted."""
    meant = place(wanted)
    clear = (meant > 0.05) & (meant < 0.95)  # of the labels of the bins beside the axis
    wanted, meant = wanted[clear], meant[clear]
    for digits in range(1, 17):
        values = np.array([float(f"{value:.{digits}g}") for value in wanted])
        if not len(wanted) or np.abs(place(values) - meant).max() < 0.01:
            break
    places = [round(float(p), 3) for p in place(values)]
    return [(p, _plain(value, digits)) for p, value in zip(places, values, strict=True)]


def _plain(value: float, digits: int) -> str:
    """Return a number of so many digits, without an exponent where it is short without one."""
    return f"{value:.12g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.{digits}g}"


def _roc(own: Array, other: Array) -> list[int]:
    """Return the vertices after even steps along the ROC curve, and both ends of long edges."""
    thresholds = np.unique(np.concatenate([own, other]))[::-1]
    false = 1 - np.searchsorted(np.sort(own), thresholds) / len(own)
    true = 1 - np.searchsorted(np.sort(other), thresholds) / len(other)
    false, true = np.insert(false, 0, 0.0), np.insert(true, 0, 0.0)
    steps = np.searchsorted(false + true, np.linspace(0, 2, POINTS) - 1e-9)
    after, counts = np.unique(steps, return_counts=True)
    before = (after[counts > 1] - 1).clip(
        min=0
    )  # of edges that hold two steps: still POINTS in all
    chosen = np.union1d(after, before)
    rates = np.stack([false[chosen], true[chosen]], 1)
    return [int(n) for n in np.rint(1000 * rates).ravel()]
