"""Independent kernel density estimates of the columns."""

import math

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array

CHUNK = 1 << 22  # entries of the table of distances that is in memory at once


class KDE(LayerDensity):
    r"""Creates minus the log density of independent columns, each a Gaussian mixture of its rows.

    .. math:: s(y) = - \sum_j \log \tfrac1n \sum_i N(y_j; y_{ij}, h_j^2), \qquad
              h_j = n^{-1/5} \sigma_j

    h is Scott's bandwidth, :math:`\sigma_j` with n - 1 below.

    Arguments:
        largest: whether the most surprising column alone counts, in place of the sum over all.

    References:
        Density of States Estimation for Out-of-Distribution Detection (Morningstar, Ham, Gallagher,
        Lakshminarayanan, Alemi and Dillon, 2021), arXiv:2006.09273
        Multivariate Density Estimation (Scott, 1992), Wiley
    """

    name = "kde"

    rows_: Array  # (K, n) fitted values, sorted
    width_: Array  # (K,) h

    def __init__(self, largest: bool = False) -> None:
        self.largest = largest

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.rows_ = np.ascontiguousarray(np.sort(y, axis=0).T)
        self.width_ = len(y) ** -0.2 * self.rows_.std(1, ddof=1)

    def _terms(self, y: Array) -> Array:
        terms = np.empty_like(y)
        step = max(1, CHUNK // self.rows_.shape[1])
        for j, (rows, width) in enumerate(zip(self.rows_, self.width_, strict=True)):
            constant = math.log(len(rows)) + math.log(width) + 0.5 * math.log(2 * math.pi)
            for start in range(0, len(y), step):
                z = (y[start : start + step, j, None] - rows) / width
                terms[start : start + step, j] = constant - log_sum(z)
        if self.largest:
            terms[np.arange(terms.shape[1]) != terms.argmax(1)[:, None]] = 0
        return terms


def log_sum(z: Array) -> Array:
    """Return log sum_i exp(-z_i^2 / 2), (N,), of z (N, n); -inf where the squares overflow."""
    half = np.square(z, out=z)
    half *= 0.5
    nearest = half.min(1)
    sums = np.exp(nearest[:, None] - half).sum(1)
    return np.where(np.isinf(nearest), -np.inf, np.log(sums) - nearest)
