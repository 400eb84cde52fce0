"""The support of the standardised columns, by a support vector machine."""

import numpy as np
from scipy.spatial.distance import cdist

from fimetric.detectors.standardised import StandardisedDensity
from fimetric.typing import Array

TOLERANCE = 1e-12  # of the optimality conditions: what is found depends on no starting point
CHUNK = 1 << 22  # kernel values in memory at once


class OneClassSVM(StandardisedDensity):
    r"""Creates the distance from the support of the data, in a Gaussian kernel's feature space.

    .. math:: s(z) = \rho - \sum_i \alpha_i e^{-|z - z_i|^2 / K}

    z are the K standardised columns; 1/K is one over their summed variance. Far from all data the
    score has its limit, :math:`\rho`.

    Arguments:
        nu: bounds the share of fitting rows outside from above and that of support vectors from
            below, in (0, 1].

    References:
        Estimating the Support of a High-Dimensional Distribution (Scholkopf, Platt, Shawe-Taylor,
        Smola and Williamson, 2001), Neural Computation 13(7)
        As a density of statistics: Density of States Estimation for Out-of-Distribution Detection
        (Morningstar et al., 2021), arXiv:2006.09273
    """

    name = "one-class-svm"

    vectors_: Array  # (n, K) support vectors
    weights_: Array  # (n,) alpha
    offset_: float  # rho

    def __init__(self, nu: float = 0.5) -> None:
        self.nu = nu

    def _learn(self, z: Array) -> None:
        from sklearn.svm import OneClassSVM as Solver

        solved = Solver(kernel="rbf", gamma=1 / z.shape[1], nu=self.nu, tol=TOLERANCE).fit(z)
        self.vectors_ = np.ascontiguousarray(solved.support_vectors_)
        self.weights_ = np.ascontiguousarray(solved.dual_coef_[0])
        self.offset_ = float(solved.offset_[0])

    def _judge(self, z: Array) -> Array:
        step = max(1, CHUNK // len(self.vectors_))
        parts = [self._kernel_sums(z[i : i + step]) for i in range(0, len(z), step)]
        return self.offset_ - np.concatenate([*parts, np.empty(0)])

    def _kernel_sums(self, z: Array) -> Array:
        # differences, and a sum row by row: a product of matrices would depend on the other rows
        kernel = np.exp(-cdist(z, self.vectors_, "sqeuclidean") / z.shape[1])
        return (kernel * self.weights_).sum(1)
