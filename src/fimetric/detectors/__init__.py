"""Densities on features, one file each, and their registry by name.

>>> sorted(DENSITIES)
['chi-square', 'fishers-method', 'full-gaussian', 'layerwise-gaussian', 'likelihood',
 'sum-of-norms', 'typicality']
>>> create("typicality")
<fimetric.detectors.typicality.Typicality object at ...>
"""

from typing import Any

from numpy.typing import NDArray

from fimetric.detectors.base import Density, LayerDensity, LossDensity, NotExplainableError
from fimetric.detectors.chi_square import ChiSquare
from fimetric.detectors.fishers_method import FishersMethod
from fimetric.detectors.full_gaussian import FullGaussian
from fimetric.detectors.layerwise_gaussian import LayerwiseGaussian
from fimetric.detectors.likelihood import Likelihood
from fimetric.detectors.sum_of_norms import SumOfNorms
from fimetric.detectors.typicality import Typicality

__all__ = [
    "DENSITIES",
    "ChiSquare",
    "Density",
    "FishersMethod",
    "FullGaussian",
    "LayerDensity",
    "LayerwiseGaussian",
    "Likelihood",
    "LossDensity",
    "NotExplainableError",
    "SumOfNorms",
    "Typicality",
    "create",
    "from_state",
]

DENSITIES: dict[str, type[Density]] = {
    density.name: density
    for density in (
        LayerwiseGaussian,
        FullGaussian,
        ChiSquare,
        FishersMethod,
        SumOfNorms,
        Typicality,
        Likelihood,
    )
}
"""Name -> class; put a density of your own here before loading a detector that uses it."""


def create(name: str) -> Density:
    """Return a new density by its name in the registry, with its default settings.

    Raises:
        ValueError: where no density has this name, listing those there are.
    """
    return _find(name)()


def from_state(arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> Density:
    """Return the fitted density whose ``state()`` this is.

    Raises:
        ValueError: where its name is not in the registry.
    """
    return _find(str(description.get("density"))).from_state(arrays, description)


def _find(name: str) -> type[Density]:
    if name not in DENSITIES:
        raise ValueError(f"no density {name!r}; there are {', '.join(sorted(DENSITIES))}")
    return DENSITIES[name]
