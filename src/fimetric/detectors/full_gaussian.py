"""One Gaussian with a shrunk full covariance on the layers' log squared norms."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class FullGaussian(LayerDensity):
    r"""Creates minus the log density of a Gaussian whose correlation matrix R is shrunk.

    .. math:: s(y) = \tfrac12 z^T R^{-1} z + \tfrac12 \log\det R
              + \sum_j \log\sigma_j + \tfrac J2 \log 2\pi,
              \qquad z_j = (y_j - \mu_j) / \sigma_j

    R is the empirical correlation matrix drawn to the identity by the Ledoit-Wolf weight, so there
    may be more layers than samples. ``explain`` gives layer j the summand :math:`z_j (R^{-1} z)_j`
    of the quadratic form (which may be negative), its own :math:`\log\sigma_j`, and an equal share
    of the determinant.

    References:
        A well-conditioned estimator for large-dimensional covariance matrices
        (Ledoit, Wolf, 2004), Journal of Multivariate Analysis 88(2)
    """

    name = "full-gaussian"

    mean_: Array  # (K,) mu
    deviation_: Array  # (K,) sigma
    cholesky_: Array  # (K, K) lower factor of R
    shrinkage_: float  # Ledoit-Wolf weight of the identity

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        from sklearn.covariance import ledoit_wolf  # takes a second, which others need not wait

        self.mean_, self.deviation_ = y.mean(0), y.std(0)
        z = (y - self.mean_) / self.deviation_
        correlation, shrinkage = ledoit_wolf(z, assume_centered=True)
        self.shrinkage_ = float(shrinkage)
        try:
            self.cholesky_ = np.linalg.cholesky(correlation)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"the covariance of {y.shape[1]} layers over {y.shape[0]} rows is singular even "
                "after shrinkage; fit on more rows or use 'layerwise-gaussian'"
            ) from error

    def _terms(self, y: Array) -> Array:
        z = (y - self.mean_) / self.deviation_
        solved = cho_solve((self.cholesky_, True), z.T, check_finite=False).T
        log_root_det = np.log(np.diag(self.cholesky_)).mean()  # of R, an equal share
        constant = np.log(self.deviation_) + log_root_det + 0.5 * math.log(2 * math.pi)
        return 0.5 * z * solved + constant
