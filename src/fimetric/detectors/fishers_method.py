"""Fisher's combination of one two-sided p-value per layer."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class FishersMethod(LayerDensity):
    r"""Creates Fisher's statistic of the layers' two-sided p-values under fitted log-normals.

    .. math:: s(y) = -2 \sum_j \log p_j, \qquad p_j = 2 \Phi(-|y_j - \mu_j| / \sigma_j)

    The layers are dependent, so the statistic is not chi-square with 2J degrees of freedom: its
    p-value comes from calibration only.

    References:
        Statistical Methods for Research Workers (Fisher, 1932), 4th edition, section 21.1
    """

    name = "fishers-method"
    joint = True

    mean_: Array  # (K,) mu
    deviation_: Array  # (K,) sigma

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.mean_, self.deviation_ = y.mean(0), y.std(0)

    def _terms(self, y: Array) -> Array:
        z = (y - self.mean_) / self.deviation_
        return -2 * (math.log(2) + log_ndtr(-np.abs(z)))
