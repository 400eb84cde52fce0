"""Independent Gaussians on the layers' log squared norms."""

import math

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class LayerwiseGaussian(LayerDensity):
    r"""Creates the paper's score: minus the log density of independent log-normal layers.

    .. math:: s(y) = - \sum_j \log N(y_j; \mu_j, \sigma_j^2)

    References:
        Approximations to the Fisher Information Metric of Deep Generative Models for
        Out-Of-Distribution Detection (Dauncey, Holmes, Williams, Falck, 2024), arXiv:2403.01485
    """

    name = "layerwise-gaussian"
    joint = True

    mean_: Array  # (K,) mu
    deviation_: Array  # (K,) sigma

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.mean_, self.deviation_ = y.mean(0), y.std(0)

    def _terms(self, y: Array) -> Array:
        z = (y - self.mean_) / self.deviation_
        return 0.5 * z**2 + np.log(self.deviation_) + 0.5 * math.log(2 * math.pi)
