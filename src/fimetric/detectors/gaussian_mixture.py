"""A mixture of Gaussians on the standardised columns."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from fimetric.detectors.standardised import StandardisedDensity
from fimetric.typing import Array

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture as Solver

RIDGE = 1e-3  # added to the variances, of which the whole has one: few rows leave some at zero


class GaussianMixture(StandardisedDensity):
    r"""Creates minus the log density of a mixture of Gaussians with full covariances.

    .. math:: s(z) = - \log \sum_m w_m N(z; \mu_m, \Sigma_m)

    z are the standardised columns. The number of components is the one of the smallest Bayesian
    information criterion, at most one for every ten fitting rows. It is for tables of few columns.

    Arguments:
        components: the most that are tried.
        seed: of the starting points.

    References:
        Multiscale Score Matching for Out-of-Distribution Detection (Mahmood, Oliva and Styner,
        2021), arXiv:2010.13132, and Out-of-Distribution Detection with a Single Unconditional
        Diffusion Model (Heng, Thiery and Soh, 2024), arXiv:2405.11881, which judge their statistics
        in this way
        Estimating the Dimension of a Model (Schwarz, 1978), Annals of Statistics 6(2)
    """

    name = "gaussian-mixture"

    weights_: Array  # (M,)
    centres_: Array  # (M, K)
    roots_: Array  # (M, K, K) Cholesky factors of the precisions

    def __init__(self, components: int = 10, seed: int = 0) -> None:
        self.components, self.seed = components, seed

    def _learn(self, z: Array) -> None:
        most = max(1, min(self.components, len(z) // 10))
        solved = [self._solved(z, count) for count in range(1, most + 1)]
        best = min(solved, key=lambda each: each.bic(z))
        self.weights_, self.centres_ = best.weights_, best.means_
        self.roots_ = best.precisions_cholesky_

    def _solved(self, z: Array, count: int) -> "Solver":
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Solver

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is a mixture all the same
            solver = Solver(count, reg_covar=RIDGE, max_iter=1000, random_state=self.seed)
            return solver.fit(z)

    def _judge(self, z: Array) -> Array:
        logs = np.empty((len(z), len(self.weights_)))
        for m, (centre, root) in enumerate(zip(self.centres_, self.roots_, strict=True)):
            # a sum row by row: a product of matrices would depend on the other rows
            turned = np.einsum("nk,kl->nl", z - centre, root)
            logs[:, m] = np.log(np.diag(root)).sum() - 0.5 * np.square(turned).sum(1)
        logs += np.log(self.weights_)
        constant = 0.5 * z.shape[1] * np.log(2 * np.pi) + np.log(self.deviation_).sum()
        return constant - np.logaddexp.reduce(logs, axis=1)
