"""Densities on features, one file each, and their registry by name.

>>> sorted(DENSITIES)
['balanced-neighbours', 'chi-square', 'column', 'combined-tests', 'e-values', 'fishers-method',
 'full-gaussian', 'gaussian-mixture', 'input-complexity', 'isolation-forest', 'kde',
 'layerwise-gaussian', 'likelihood', 'mean-z-score', 'nearest-neighbours', 'one-class-svm',
 'relative-mahalanobis', 'smallest-p-value', 'sum-of-norms', 'typicality', 'waic']
>>> create("typicality")
<fimetric.detectors.typicality.Typicality object at ...>

balanced_neighbours distance to the nearest in-distribution rows, parts of the loss beside norms
base                what every density keeps: fit on own rows, higher = more anomalous
chi_square          independent scaled chi-square layers
code_residual       what of a loss the length of a simple code does not tell
column              one column of the table as the score
combined_tests      empirical p-values of the columns and of the loss, joined into one
fishers_method      Fisher's combination of one two-sided p-value per layer
e_values            several numbers of a row, each as an e-value, and their mean
full_gaussian       one Gaussian with a shrunk full covariance on the layers' log squared norms
gaussian_mixture    a mixture of Gaussians on the standardised columns
input_complexity    the loss, less what a general-purpose compressor needs
isolation_forest    how few random cuts set a row apart from the fitting rows
kde                 independent kernel density estimates of the columns
layerwise_gaussian  independent Gaussians on the layers' log squared norms
likelihood          the negative log-likelihood itself
mean_z_score        the mean of the columns, each measured in its own deviations
nearest_neighbours  distance to the nearest in-distribution rows, in log norms and losses
own_distances       how far fitted rows are from each other
one_class_svm       the support of the standardised columns, by a support vector machine
relative_mahalanobis a Gaussian of hidden states, against one of texts in general
smallest_p_value    the most surprising of several tests
standardised        what densities share that compare columns with each other
sum_of_norms        the squared norm of the whole gradient
typicality          the typicality test
waic                the mean loss of an ensemble, and how much its members disagree
"""

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from fimetric.arguments import shown
from fimetric.detectors.balanced_neighbours import BalancedNeighbours
from fimetric.detectors.base import Density, LayerDensity, LossDensity, NotExplainableError
from fimetric.detectors.chi_square import ChiSquare
from fimetric.detectors.column import Column
from fimetric.detectors.combined_tests import CombinedTests
from fimetric.detectors.e_values import EValues
from fimetric.detectors.fishers_method import FishersMethod
from fimetric.detectors.full_gaussian import FullGaussian
from fimetric.detectors.gaussian_mixture import GaussianMixture
from fimetric.detectors.input_complexity import InputComplexity
from fimetric.detectors.isolation_forest import IsolationForest
from fimetric.detectors.kde import KDE
from fimetric.detectors.layerwise_gaussian import LayerwiseGaussian
from fimetric.detectors.likelihood import Likelihood
from fimetric.detectors.mean_z_score import MeanZScore
from fimetric.detectors.nearest_neighbours import NearestNeighbours
from fimetric.detectors.one_class_svm import OneClassSVM
from fimetric.detectors.relative_mahalanobis import RelativeMahalanobis
from fimetric.detectors.smallest_p_value import SmallestPValue
from fimetric.detectors.sum_of_norms import SumOfNorms
from fimetric.detectors.typicality import Typicality
from fimetric.detectors.waic import WAIC

__all__ = [
    "DEFAULT",
    "DENSITIES",
    "KDE",
    "OF_ANY_TABLE",
    "PRESETS",
    "WAIC",
    "BalancedNeighbours",
    "ChiSquare",
    "Column",
    "CombinedTests",
    "Density",
    "EValues",
    "FishersMethod",
    "FullGaussian",
    "GaussianMixture",
    "InputComplexity",
    "IsolationForest",
    "LayerDensity",
    "LayerwiseGaussian",
    "Likelihood",
    "LossDensity",
    "MeanZScore",
    "NearestNeighbours",
    "NotExplainableError",
    "OneClassSVM",
    "RelativeMahalanobis",
    "SmallestPValue",
    "SumOfNorms",
    "Typicality",
    "best",
    "cheap",
    "create",
    "default",
    "from_state",
]

DENSITIES: dict[str, type[Density]] = {
    density.name: density
    for density in (
        BalancedNeighbours,
        NearestNeighbours,
        LayerwiseGaussian,
        FullGaussian,
        ChiSquare,
        FishersMethod,
        SumOfNorms,
        Typicality,
        Likelihood,
        KDE,
        OneClassSVM,
        IsolationForest,
        EValues,
        GaussianMixture,
        MeanZScore,
        CombinedTests,
        SmallestPValue,
        InputComplexity,
        WAIC,
        Column,
        RelativeMahalanobis,
    )
}
"""Name -> class; put a density of your own here before loading a detector that uses it."""

DEFAULT = BalancedNeighbours.name
"""The name of the density that is taken where none is named."""

OF_FEW_COLUMNS = (
    GaussianMixture,
    InputComplexity,
    MeanZScore,
    SmallestPValue,
    WAIC,
    Column,
    RelativeMahalanobis,
)
OF_ANY_TABLE = tuple(name for name, d in DENSITIES.items() if d not in OF_FEW_COLUMNS)
"""Names of those that suit any table; the others want the few columns of one statistic."""


def default() -> Density:
    """Return the density that is taken where none is named: the gradient, and all that is free.

    The presets were chosen on in-distribution data alone, see docs/results/blocks.md.
    """
    return create(DEFAULT)


def cheap() -> Density:
    """Return a density that needs no gradient: a detector takes a forward pass alone.

    The best of its kind in the rounds that it was chosen in; hidden states, which tables do not
    hold, would give more (docs/results/blocks.md).
    """
    return EValues(("loss", "parts", "ratio"))


def best() -> Density:
    """Return a density of the highest mean under the criterion, whatever it costs.

    It takes further passes for parts of the loss, and is ahead of the default by less than what the
    criterion counts as a difference.
    """
    return EValues(("norms", "more parts", "code", "worst"))


PRESETS = {preset.__name__: preset for preset in (default, cheap, best)}
"""Name -> what makes a density; taken wherever the name of a density is."""


def create(name: str) -> Density:
    """Return a new density by its name in the registry, with its default settings, or a preset.

    Raises:
        ValueError: where no density has this name, listing those there are.
    """
    preset = PRESETS.get(name) if isinstance(name, str) else None
    return (preset or _find(name))()


def most_parts(names: Iterable[str]) -> str | None:
    """Return which parts of the losses a table needs for densities of these names to read it."""
    wanted = {create(name).parts for name in names}
    return next((parts for parts in ("costly", "free") if parts in wanted), None)


def as_density(density: Density | str | None) -> Density:
    """Return a density that is given itself, by its name, or by None for the default.

    Raises:
        ValueError: for an unknown name, listing those there are.
        TypeError: for anything else.
    """
    if density is None:
        return create(DEFAULT)
    if isinstance(density, Density):
        return density
    if isinstance(density, type):
        raise TypeError(
            f"density is the class {density.__name__}; pass one made of it, {density.__name__}()"
        )
    for name, preset in PRESETS.items():
        if density is preset:
            raise TypeError(f"density is the function {name}; pass what it returns, {name}()")
    return create(density)


def from_state(arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> Density:
    """Return the fitted density whose ``state()`` this is.

    Raises:
        ValueError: where its name is not in the registry.
    """
    return _find(str(description.get("density"))).from_state(arrays, description)


def _find(name: str) -> type[Density]:
    known = ", ".join((*sorted(DENSITIES), *PRESETS))
    if not isinstance(name, str):
        raise TypeError(
            f"density must be a name or a density, not {shown(name)}; the names are {known}"
        )
    if name not in DENSITIES:
        raise ValueError(f"no density {name!r}; there are {known}")
    return DENSITIES[name]
