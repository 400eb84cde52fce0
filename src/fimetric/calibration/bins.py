"""Bins of a covariate, such as length, in which p-values hold one by one (Mondrian)."""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fimetric.calibration.shares import one_dimensional
from fimetric.typing import Array

LEAST = 99  # rows in a bin, so that p-values go down to 1/100
MOST = 5  # bins; further rows make each threshold steadier instead


def covariate_of(values: ArrayLike, rows: int, what: str) -> Array:
    """Return a covariate (rows,), checked.

    Raises:
        ValueError: for another shape, or a number that is not finite.
    """
    found = one_dimensional("the covariate's values", values)
    if len(found) != rows:
        raise ValueError(
            f"the covariate has {len(found)} values for {rows} {what}; give one for each"
        )
    if not np.isfinite(found).all():
        raise ValueError(
            f"the covariate is {found[~np.isfinite(found)][0]} at index "
            f"{int(np.flatnonzero(~np.isfinite(found))[0])}; give finite numbers"
        )
    return found


def edges_of(covariate: Array) -> Array:
    """Return where bins end and the next begin, (bins - 1,), rising.

    Bins lie between quantiles, at most ``MOST``; equal values share one, and neighbours are merged
    until each has ``LEAST`` rows, or there is but one.
    """
    wanted = max(1, min(MOST, len(covariate) // LEAST))
    shares = np.arange(1, wanted) / wanted
    tops = np.unique(np.quantile(covariate, shares, method="inverted_cdf"))
    bins = [part for part in _parts(covariate, tops) if len(part)]
    while len(bins) > 1 and min(map(len, bins)) < LEAST:
        small = min(range(len(bins)), key=lambda i: len(bins[i]))
        others = [i for i in (small - 1, small + 1) if 0 <= i < len(bins)]
        first = min(small, min(others, key=lambda i: len(bins[i])))
        bins[first : first + 2] = [np.concatenate(bins[first : first + 2])]
    return np.array([(a.max() + b.min()) / 2 for a, b in pairwise(bins)])


def _parts(covariate: Array, tops: Array) -> list[Array]:
    places = places_in(covariate, tops)
    return [covariate[places == place] for place in range(len(tops) + 1)]


def places_in(covariate: Array, edges: Array) -> NDArray[np.int64]:
    """Return the number of the bin (N,) of each value; the first and the last have no outer end."""
    return np.searchsorted(edges, covariate, side="left")
