r"""The families that squared norms f of a layer may follow.

.. math:: f_j \sim c_j \chi^2_{k_j}, \quad k_j \text{ elements}; \qquad
          f_j \sim c_j \chi^2_{\nu_j}, \quad \nu_j = 2 m_j^2 / v_j; \qquad
          \log f_j \sim N(\mu_j, \sigma_j^2)

with m and v the mean and variance of f; nu also by maximum likelihood. All of it is done on
y = log f. Each family has a location on that scale, so the size of the gradients, which may be
1e-30 or 1e+20, plays no part.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from scipy import stats
from scipy.special import digamma, gammainc, logsumexp, ndtr, polygamma

from fimetric.typing import Array


class Family(ABC):
    """Creates a family of distributions of y = log f with a location and a shape."""

    name: ClassVar[str]
    shape_is_scale: ClassVar[bool] = False
    """Whether another shape only stretches y, so that distances after refitting do not see it."""

    @abstractmethod
    def fit(self, y: Array, shape: Array) -> tuple[Array, Array]:
        """Return location and shape (...,) of y (..., n); ``shape`` (...,) where it is given."""

    @abstractmethod
    def cdf(self, y: Array, location: Array, shape: Array) -> Array:
        """Return P(Y <= y) for y (..., n), location and shape (...,)."""

    @abstractmethod
    def draw(self, shape: float, size: tuple[int, ...], random: np.random.Generator) -> Array:
        """Return random y of this shape, at any one location."""

    @abstractmethod
    def distribution(self, location: float, shape: float) -> Any:
        """Return the distribution of y as a frozen one of ``scipy.stats``."""


class ScaledChiSquare(Family):
    """Creates c chi^2 with given degrees of freedom (the shape); the location is log E f."""

    name = "chi-square"

    def fit(self, y: Array, shape: Array) -> tuple[Array, Array]:
        """Return log mean f, by maximum likelihood, and the given degrees of freedom."""
        return logsumexp(y, axis=-1) - np.log(y.shape[-1]), shape

    def cdf(self, y: Array, location: Array, shape: Array) -> Array:
        """Return P(nu / 2, nu / 2 * f / E f), P the regularised incomplete gamma function."""
        half = shape[..., None] / 2
        return gammainc(half, half * np.exp(y - location[..., None]))

    def draw(self, shape: float, size: tuple[int, ...], random: np.random.Generator) -> Array:
        """Return log f; far below one degree of freedom f itself would be zero in floating point.

        With G of shape a + 1 and U uniform, G U^(1/a) has shape a (Marsaglia and Tsang, 2000, A
        simple method for generating gamma variables, section 6).
        """
        half = shape / 2
        log_power = -random.standard_exponential(size) / half
        return np.log(random.standard_gamma(half + 1, size)) + log_power

    def distribution(self, location: float, shape: float) -> Any:
        """Return the distribution of y; see ``Family.distribution``."""
        return stats.loggamma(shape / 2, loc=location - np.log(shape / 2))


class Gamma(ScaledChiSquare):
    """Creates c chi^2 with degrees of freedom 2 m^2 / v by moments, m and v as in the sample."""

    name = "gamma"

    def fit(self, y: Array, shape: Array) -> tuple[Array, Array]:
        """Return log mean f and 2 m^2 / v; the shape that is given plays no part."""
        location, _ = super().fit(y, shape)
        relative = np.expm1(y - location[..., None])  # f / m - 1, precise where f hardly varies
        return location, 2 / relative.var(-1)


class GammaByLikelihood(ScaledChiSquare):
    """Creates c chi^2 with free degrees of freedom by maximum likelihood.

    Moments are at the mercy of the largest norm; with this estimate beside them a bad fit is the
    family's own.
    """

    name = "gamma-likelihood"

    def fit(self, y: Array, shape: Array) -> tuple[Array, Array]:
        """Return log mean f and 2 a, log a - digamma(a) = log mean f - mean log f."""
        location, _ = super().fit(y, shape)
        w = y - location[..., None]
        return location, 2 * gamma_shape((np.expm1(w) - w).mean(-1))  # the mean of expm1(w) is 0


class LogNormal(Family):
    """Creates the log-normal; location and shape are mean and standard deviation of y."""

    name = "log-normal"
    shape_is_scale = True

    def fit(self, y: Array, shape: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation, by maximum likelihood."""
        return y.mean(-1), y.std(-1)

    def cdf(self, y: Array, location: Array, shape: Array) -> Array:
        """Return Phi((y - mu) / sigma)."""
        return ndtr((y - location[..., None]) / shape[..., None])

    def draw(self, shape: float, size: tuple[int, ...], random: np.random.Generator) -> Array:
        """Return normal y of mean zero."""
        return shape * random.standard_normal(size)

    def distribution(self, location: float, shape: float) -> Any:
        """Return the distribution of y; see ``Family.distribution``."""
        return stats.norm(location, shape)


FAMILIES: dict[str, Family] = {
    family.name: family for family in (ScaledChiSquare(), Gamma(), GammaByLikelihood(), LogNormal())
}
"""Name -> family; the second and third are one, fitted in two ways, and the first a case of it."""


def gamma_shape(s: Array) -> Array:
    """Return a (...,) with log a - digamma(a) = s > 0.

    By Thom's approximation (A note on the gamma distribution, 1958), exact to 1e-9 below s = .001,
    where digamma would lose digits; above by five of Minka's Newton steps (Estimating a Gamma
    distribution, 2002), each of which doubles the digits.
    """
    thom = (1 + np.sqrt(1 + 4 * s / 3)) / (4 * s)
    clear = np.maximum(s, 1e-3)
    a = np.minimum(thom, 500)
    for _ in range(5):
        a = 1 / (1 / a + (np.log(a) - digamma(a) - clear) / (a - a**2 * polygamma(1, a)))
    return np.where(s < 1e-3, thom, a)
