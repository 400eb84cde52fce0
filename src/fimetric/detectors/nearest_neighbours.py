"""Distance to the nearest in-distribution rows, in log norms and losses."""

import numpy as np
from numpy.typing import NDArray

from fimetric.arguments import whole
from fimetric.detectors.base import LayerDensity
from fimetric.features.screening import NO_SPREAD
from fimetric.features.table import Features
from fimetric.typing import Array

CHUNK = 1 << 22  # entries of a table of distances that is in memory at once


class NearestNeighbours(LayerDensity):
    r"""Creates the mean squared distance to the nearest fitted rows, all columns standardised.

    .. math:: s(y) = \tfrac1k \sum_{i \in N_k(y)} \sum_j (z_j - z_{ij})^2,
              \qquad z_j = (y_j - \mu_j) / \sigma_j

    Columns are the log norms and, beside them, the mean loss of each view. No shape of the density
    is assumed: in-distribution data come in kinds, each with norms of its own, so columns that
    depend on each other and clusters need no model. ``explain`` gives each layer its summand, and
    an equal share of the losses'.

    Arguments:
        neighbours: k; all rows where there are fewer.

    Raises:
        TypeError, ValueError: for a k that is no whole number above zero.

    References:
        Efficient Algorithms for Mining Outliers from Large Data Sets (Ramaswamy, Rastogi and Shim,
        2000), SIGMOD. Out-of-Distribution Detection with Deep Nearest Neighbors (Sun, Ming, Zhu and
        Li, 2022), arXiv:2204.06507, on features of classifiers. The columns are this project's;
        see docs/results/selection.md for how they were chosen.
    """

    name = "nearest-neighbours"

    mean_: Array  # (K,) mu
    deviation_: Array  # (K,) sigma
    rows_: Array  # (n, K) fitted rows, standardised

    def __init__(self, neighbours: int = 5) -> None:
        self.neighbours = whole("neighbours", neighbours)

    def _beside(self, features: Features) -> Array:
        return features.group_losses

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.mean_, self.deviation_ = y.mean(0), y.std(0)
        # layers have a spread; a loss that has none tells nothing
        self.deviation_[np.ptp(y, axis=0) <= NO_SPREAD * np.abs(y).max(0)] = np.inf
        self.rows_ = (y - self.mean_) / self.deviation_

    def _score(self, y: Array) -> Array:
        return np.concatenate([d.mean(1) for _, d in self._nearest(y)] or [np.zeros(0)])

    def _terms(self, y: Array) -> Array:
        terms = np.empty_like(y)
        done = 0
        for places, _ in self._nearest(y):
            z = (y[done : done + len(places)] - self.mean_) / self.deviation_
            for row, near in enumerate(places):
                terms[done + row] = np.square(z[row] - self.rows_[near]).mean(0)
            done += len(places)
        return terms

    def _nearest(self, y: Array) -> list[tuple[NDArray[np.int64], Array]]:
        """Return, for parts of the rows (m, K), places and squared distances (m, k) of the nearest.

        The places come of a quick formula that cancels; the distances are taken anew.
        """
        found = []
        squares = np.square(self.rows_).sum(1)
        k = min(self.neighbours, len(self.rows_))
        step = max(1, CHUNK // max(len(self.rows_), k * y.shape[1]))
        for start in range(0, len(y), step):
            z = (y[start : start + step] - self.mean_) / self.deviation_
            rough = squares - 2 * z @ self.rows_.T
            places = np.argpartition(rough, k - 1, axis=1)[:, :k]
            found.append((places, np.square(z[:, None] - self.rows_[places]).sum(2)))
        return found
