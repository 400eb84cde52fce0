"""The mean loss of an ensemble, and how much its members disagree."""

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class WAIC(LayerDensity):
    r"""Creates minus the Watanabe-Akaike information criterion of the columns.

    .. math:: s(x) = - E_m[\log p_m(x)] + Var_m[\log p_m(x)]

    The columns are the losses of the ensemble's members, in nats, as
    ``fimetric.statistics.EnsembleLosses`` gives them; the variance is that of M members, with M
    below. A bound takes the place of the likelihood where there is none. Of denoising losses, which
    are no nats, the sum has the form alone: mean and variance then differ in their unit. Nothing is
    learned.

    References:
        WAIC, but Why? Generative Ensembles for Robust Anomaly Detection
        (Choi, Jang and Alemi, 2018), arXiv:1810.01392
    """

    name = "waic"

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        pass

    def _terms(self, y: Array) -> Array:
        return (y + (y - y.mean(1, keepdims=True)) ** 2) / y.shape[1]
