"""Which samples are judged together, and what a group's row of a table is.

Two features of a group exist: the mean of its samples' columns, for which any samples may be put
together after the extraction, and the norms of the joint gradient, for which the groups stand
before it.
"""

import numpy as np
from numpy.typing import NDArray

from fimetric.features.table import Features

Index = NDArray[np.int64]


def refuse_rest(samples: int | None, size: int) -> None:
    """Refuse a number of samples that makes no whole groups, where it is known.

    Raises:
        ValueError: saying how many to leave out.
    """
    if samples is not None and samples % size:
        raise ValueError(
            f"{samples} samples do not make whole groups of {size}; leave out {samples % size}"
        )


def disjoint(n: int, size: int, seed: int | None) -> Index:
    """Return the rows (n // size, size) of groups without a sample in common.

    They are drawn at random with the seed, or follow one another in order where it is None. Samples
    that make no whole group are left out.
    """
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    return order[: n // size * size].reshape(-1, size)


def overlapping(n: int, size: int, count: int, seed: int) -> Index:
    """Return the rows (count, size) of random groups that may share samples, none twice in one.

    A density is fitted on them where disjoint groups would be few. They are not independent, so
    nothing may be tested or calibrated on them.
    """
    random = np.random.default_rng(seed)
    drawn = [random.choice(n, size, replace=False, shuffle=False) for _ in range(count)]
    return np.stack(drawn)


def means(features: Features, rows: Index) -> Features:
    """Return the table whose rows are the means over groups of rows (groups, size)."""
    if rows.shape[1] == 1:
        return features.select(rows[:, 0])
    return features.select(rows.ravel()).grouped(rows.shape[1])
