"""Independent scaled chi-square layers, with as many degrees of freedom as elements."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class ChiSquare(LayerDensity):
    r"""Creates minus the log density of :math:`y_j = \log f_j`, :math:`f_j \sim c_j \chi^2_{k_j}`.

    .. math:: \log p(y) = \tfrac k2 y - \frac{e^y}{2c} - \tfrac k2 \log 2c - \log\Gamma(\tfrac k2)

    k is the number of elements of the layer, and the scale c = mean(f) / k the maximum likelihood
    estimate. It is what the squared norm of k independent Gaussians of one variance would follow;
    a real layer has fewer effective degrees of freedom, so the density is far too narrow.

    References:
        Approximations to the Fisher Information Metric of Deep Generative Models for
        Out-Of-Distribution Detection (Dauncey, Holmes, Williams, Falck, 2024), arXiv:2403.01485
    """

    name = "chi-square"
    joint = True

    log_mean_: Array  # (K,) log of the mean squared norm, log(k c)
    freedom_: Array  # (K,) k

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.log_mean_ = logsumexp(y, axis=0) - np.log(len(y))
        self.freedom_ = numels.astype(np.float64)

    def _terms(self, y: Array) -> Array:
        # With w = y - log(kc) the large parts cancel on paper instead of in floating point:
        # -log p = k/2 (e^w - 1 - w) + k/2 - k/2 log(k/2) + log Gamma(k/2)
        half, w = self.freedom_ / 2, y - self.log_mean_
        return half * (np.expm1(w) - w) + half * (1 - np.log(half)) + gammaln(half)
