"""Densities that are candidates and stand nowhere else in the project."""

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import log_ndtr, logsumexp, ndtri_exp
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA

from fimetric.detectors import KDE, Density, FullGaussian, NearestNeighbours, Typicality
from fimetric.detectors.base import LayerDensity
from fimetric.detectors.combined_tests import upper
from fimetric.features.table import Features


class StudentT(LayerDensity):
    """Independent columns, each of Student's law, its three parameters by maximum likelihood."""

    name = "student-t"

    def _fit(self, y: Any, numels: Any) -> None:
        self.laws_ = [stats.t(*stats.t.fit(column)) for column in y.T]

    def _score(self, y: Any) -> Any:
        return -sum(law.logpdf(column) for law, column in zip(self.laws_, y.T, strict=True))


class PrincipalGaussian(LayerDensity):
    """A Gaussian on the principal components that hold 95% of the variance, isotropic beside."""

    name = "principal-gaussian"

    def _fit(self, y: Any, numels: Any) -> None:
        self.mean_, self.deviation_ = y.mean(0), y.std(0)
        self.components_ = PCA(0.95, svd_solver="full").fit((y - self.mean_) / self.deviation_)

    def _score(self, y: Any) -> Any:
        z = (y - self.mean_) / self.deviation_
        return np.log(self.deviation_).sum() - self.components_.score_samples(z)


class GaussianCopula(LayerDensity):
    """Columns of kernel densities, joined by a Gaussian copula of shrunk correlation."""

    name = "gaussian-copula"

    def _fit(self, y: Any, numels: Any) -> None:
        self.margins_ = KDE()
        self.margins_._fit(y, numels)
        z = self._normal(y)
        self.correlation_ = ledoit_wolf(z, assume_centered=True)[0]

    def _normal(self, y: Any) -> Any:
        """Return normal scores (N, K): each column through its law to the standard normal one."""
        found = np.empty_like(y)
        rows, widths = self.margins_.rows_, self.margins_.width_
        for j, (fitted, width) in enumerate(zip(rows, widths, strict=True)):
            z = (y[:, j, None] - fitted) / width
            below, above = (
                logsumexp(log_ndtr(s * z), axis=1) - np.log(len(fitted)) for s in (1, -1)
            )
            found[:, j] = np.where(below < above, ndtri_exp(below), -ndtri_exp(above))
        return found

    def _score(self, y: Any) -> Any:
        z = self._normal(y)
        quadratic = (z * (np.linalg.solve(self.correlation_, z.T).T - z)).sum(1)
        log_det = np.linalg.slogdet(self.correlation_)[1]
        return self.margins_._terms(y).sum(1) + 0.5 * (quadratic + log_det)


class Balanced(NearestNeighbours):
    """Neighbours that count all norms together as much as all losses together."""

    name = "balanced"

    def _fit(self, y: Any, numels: Any) -> None:
        super()._fit(y, numels)
        weights = np.where(
            np.arange(y.shape[1]) < len(numels), len(numels), y.shape[1] - len(numels)
        )
        self.deviation_ = self.deviation_ * np.sqrt(weights)
        self.rows_ = (y - self.mean_) / self.deviation_


class Whitened(NearestNeighbours):
    """Neighbours in columns that are whitened by their shrunk correlation."""

    name = "whitened"

    def _fit(self, y: Any, numels: Any) -> None:
        self.centre_, self.spread_ = y.mean(0), y.std(0)
        z = (y - self.centre_) / self.spread_
        self.root_ = np.linalg.cholesky(ledoit_wolf(z, assume_centered=True)[0])
        super()._fit(self._turned(y), numels)

    def _turned(self, y: Any) -> Any:
        return np.linalg.solve(self.root_, ((y - self.centre_) / self.spread_).T).T

    def _score(self, y: Any) -> Any:
        return super()._score(self._turned(y))


class CombinedPValues(Density):
    """Fisher's statistic of the p-values of several densities, by a half that they did not see."""

    name = "combined-p-values"

    def __init__(self, *densities: type[Density]) -> None:
        self.densities = densities or (NearestNeighbours, FullGaussian, Typicality)

    def fit(self, features: Features) -> "CombinedPValues":
        one, other = (features.select(slice(start, None, 2)) for start in (0, 1))
        self.fitted_ = [density().fit(one) for density in self.densities]
        self.rows_ = [np.sort(density.score(other)) for density in self.fitted_]
        return self

    def score(self, features: Features) -> Any:
        scores = [density.score(features) for density in self.fitted_]
        return -2 * sum(np.log(upper(r, s)) for r, s in zip(self.rows_, scores, strict=True))
