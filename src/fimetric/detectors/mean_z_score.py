"""The mean of the columns, each measured in its own deviations."""

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class MeanZScore(LayerDensity):
    r"""Creates the mean of standardised columns: one-sided, large values are strange.

    .. math:: s(y) = \tfrac1K \sum_j (y_j - \mu_j) / \sigma_j

    References:
        Denoising Diffusion Models for Out-of-Distribution Detection (Graham, Pinaya, Tudosiu,
        Nachev, Ourselin, Cardoso, 2023), arXiv:2211.07740, which joins reconstruction
        errors in this way
    """

    name = "mean-z-score"

    mean_: Array  # (K,) mu
    deviation_: Array  # (K,) sigma

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.mean_, self.deviation_ = y.mean(0), y.std(0)

    def _terms(self, y: Array) -> Array:
        return (y - self.mean_) / self.deviation_ / y.shape[1]
