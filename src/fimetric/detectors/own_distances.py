"""How far fitted rows are from each other, none counted as a neighbour of its own."""

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

from fimetric.features.table import Features
from fimetric.typing import Array

CHUNK = 1 << 22  # entries of a table of distances that is in memory at once


def own_distances(rows: Array, table: Features, neighbours: int) -> Array:
    """Return the mean squared distances (n,) of fitted rows (n, K) to the nearest others.

    Rows that share a sample with one are not among its neighbours.

    Arguments:
        rows: as a density keeps them.
        table: what they were made from.
        neighbours: how many are near; all others where there are fewer.
    """
    n, size = len(rows), table.group_size
    samples = np.unique(table.ids, return_inverse=True)[1]
    shape = (n, int(samples.max()) + 1)
    has = csr_array((np.ones(n * size), (np.arange(n * size) // size, samples)), shape=shape)
    found = np.empty(n)
    step = max(1, CHUNK // n)
    for start in range(0, n, step):
        chosen = np.arange(start, min(n, start + step))
        distances = cdist(rows[chosen], rows, "sqeuclidean")
        shared = (has[chosen] @ has.T).toarray() > 0
        shared[shared.all(1)] = False  # of few samples, all groups share some
        shared[np.arange(len(chosen)), chosen] = True
        distances[shared] = np.nan
        found[chosen] = np.nanmean(np.sort(distances, 1)[:, :neighbours], 1)
    return found
