"""Which family the squared norms of each layer follow: fits, distances, p-values.

The families are in ``laws``. How well one fits is its Kolmogorov-Smirnov distance from the samples,
and how likely it is by chance is asked of samples of the fitted family, each fitted anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fimetric.features.screening import informative
from fimetric.features.table import Features
from fimetric.fisher.laws import FAMILIES, Family
from fimetric.typing import Array

# Shapes closer than this factor share one null distribution, that of a shape at most half of it
# away. Its quantiles are 1% off at worst, while 200 repeats give the one of 95% to 5% only.
SHAPE_STEP = 1.02


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
