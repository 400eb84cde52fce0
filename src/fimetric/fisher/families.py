r"""Which simple family the squared norms of each layer follow.

.. math:: f_j \sim c_j \chi^2_{k_j}, \quad k_j \text{ elements}; \qquad
          f_j \sim c_j \chi^2_{\nu_j}, \quad \nu_j = 2 m_j^2 / v_j; \qquad
          \log f_j \sim N(\mu_j, \sigma_j^2)

with m and v the mean and variance of f. All of it is done on y = log f. Each family has a location
on that scale, so the size of the gradients, which may be 1e-30 or 1e+20, plays no part.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import digamma, gammainc, logsumexp, ndtr, polygamma

from fimetric.features import Features
from fimetric.screening import informative

Array = NDArray[np.float64]

# Shapes closer than this factor share one null distribution, that of a shape at most half of it
# away. Its quantiles are 1% off at worst, while 200 repeats give the one of 95% to 5% only.
SHAPE_STEP = 1.02


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


@dataclass(frozen=True, eq=False)
class Fit:
    """One family, fitted to K layers.

    Arguments:
        location: (K,) log mean f; of the log-normal the mean of y.
        shape: (K,) degrees of freedom; of the log-normal the standard deviation of y.
        distance: (K,) Kolmogorov-Smirnov distance, the largest between the two cdfs.
        p_value: (K,) by the parametric bootstrap that refits; uniform where the family is true.
    """

    location: Array
    shape: Array
    distance: Array
    p_value: Array


@dataclass(frozen=True, eq=False)
class FamilyFits:
    """All families, fitted to the informative layers.

    Arguments:
        names: the K layers.
        numels: (K,) their elements.
        samples: rows that were fitted.
        fits: family -> its fits, in the order of ``FAMILIES``.
    """

    names: tuple[str, ...]
    numels: NDArray[np.int64]
    samples: int
    fits: Mapping[str, Fit]

    def fitting(self, family: str, alpha: float = 0.05) -> NDArray[np.bool_]:
        """Mark the layers (K,) that the family fits: p > alpha."""
        return self.fits[family].p_value > alpha

    def closest(self) -> dict[str, int]:
        """Return for how many layers each family has the smallest distance (the first in a tie)."""
        best = np.argmin([fit.distance for fit in self.fits.values()], axis=0)
        counts = np.bincount(best, minlength=len(self.fits))
        return {family: int(count) for family, count in zip(self.fits, counts, strict=True)}

    def distribution(self, family: str, layer: int) -> Any:
        """Return the distribution of a layer's y as a frozen one of ``scipy.stats``."""
        fit = self.fits[family]
        return FAMILIES[family].distribution(fit.location[layer], fit.shape[layer])


def fit_families(features: Features, repeats: int = 200, seed: int = 0) -> FamilyFits:
    """Fit chi-square, gamma (twice) and log-normal to every informative layer, and test each fit.

    The p-value is (1 + #{D* >= D}) / (repeats + 1), D* the distances of samples of the fitted
    family after refitting it to them: with parameters estimated from the sample, tables of the
    Kolmogorov-Smirnov test would hardly ever reject. As D* depends on the shape alone, layers of
    one shape share one null distribution; those of the log-normal all do.

    Arguments:
        features: N >= 2 rows, all finite; layers that are rounding noise or constant are left out
            (``screening.informative``).
        repeats: samples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: where a row is not finite, nothing is informative, or ``repeats`` < 1.

    References:
        On the Kolmogorov-Smirnov Test for Normality with Mean and Variance Unknown
        (Lilliefors, 1967), Journal of the American Statistical Association 62;
        Bootstrap Based Goodness-of-Fit-Tests (Stute, Gonzalez Manteiga, Presedo Quindimil, 1993),
        Metrika 40
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; the bootstrap needs one sample at least")
    kept = informative(features)
    y = np.sort(features.values[:, kept].T, axis=-1)  # (K, N)
    numels = features.numels[kept]
    names = tuple(name for name, keep in zip(features.names, kept, strict=True) if keep)
    fits = {}
    for name, family in FAMILIES.items():
        location, shape = family.fit(y, numels.astype(np.float64))
        distance = ks_distances(family.cdf(y, location, shape))
        p_value = _p_values(family, distance, shape, len(features), repeats, seed)
        fits[name] = Fit(location, shape, distance, p_value)
    return FamilyFits(names, numels, len(features), fits)


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


def ks_distances(u: Array) -> Array:
    """Return the distances (...,) of the cdf's values u (..., n), rising, from the empirical cdf.

    >>> ks_distances(np.array([[0.25, 0.5, 0.6], [0.1, 0.2, 0.9]]))
    array([0.4       , 0.46666667])
    """
    steps = np.arange(u.shape[-1] + 1) / u.shape[-1]
    return np.maximum(steps[1:] - u, u - steps[:-1]).max(-1)


def null_distances(family: Family, shape: float, n: int, repeats: int, seed: int) -> Array:
    """Return sorted distances (repeats,) of samples of n from the family, refitted to each."""
    y = np.sort(family.draw(shape, (repeats, n), np.random.default_rng(seed)), axis=-1)
    fitted = family.fit(y, np.full(repeats, shape))
    return np.sort(ks_distances(family.cdf(y, *fitted)))


def _p_values(
    family: Family, distance: Array, shape: Array, n: int, repeats: int, seed: int
) -> Array:
    """Return the bootstrap p-values (K,) of the distances (K,)."""
    relevant = np.ones_like(shape) if family.shape_is_scale else shape
    steps = np.round(np.log(relevant) / np.log(SHAPE_STEP))
    p_value = np.empty_like(distance)
    for step in np.unique(steps):
        layers = steps == step
        null = null_distances(family, SHAPE_STEP**step, n, repeats, seed)
        beyond = repeats - np.searchsorted(null, distance[layers], side="left")
        p_value[layers] = (1 + beyond) / (repeats + 1)
    return p_value
