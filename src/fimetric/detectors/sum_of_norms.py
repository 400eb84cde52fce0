"""The squared norm of the whole gradient."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class SumOfNorms(LayerDensity):
    r"""Creates the log squared norm of the gradient, :math:`s(y) = \log \sum_j e^{y_j}`.

    The sum runs over all layers kept and, of an objective with views, over all views. Nothing but
    the choice of layers is learned, and the largest layers decide.
    """

    name = "sum-of-norms"
    joint = True

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        pass

    def _score(self, y: Array) -> Array:
        return np.asarray(logsumexp(y, axis=1), dtype=np.float64)
