"""How well likelihood, typicality and the layer-wise Gaussian tell foreign sets from own data."""

from collections.abc import Mapping

from fimetric.detectors import create
from fimetric.features.table import Features
from fimetric.metrics import Estimate, auroc, estimate

DENSITY, RIVAL = "layerwise-gaussian", "typicality"
DETECTORS = ("likelihood", RIVAL, DENSITY)

Aurocs = dict[str, dict[str, Estimate]]  # foreign set -> detector


def halves(own: Features) -> tuple[Features, Features]:
    """Return the rows that densities are fitted on, and those that are scored."""
    half = len(own) // 2
    return own.select(slice(0, half)), own.select(slice(half, len(own)))


def aurocs(
    fit: Features,
    test: Features,
    foreign: Mapping[str, Features],
    seed: int,
    size: int = 1,
    repeats: int = 1000,
) -> Aurocs:
    """Return foreign set -> detector -> AUROC.

    Arguments:
        fit: own rows that the densities are fitted on, of single samples.
        test: own rows that are scored.
        foreign: set -> rows; sets of less than one group are left out.
        seed: of the bootstrap.
        size: samples to a group, described by the mean of their log norms.
        repeats: of the bootstrap.

    Raises:
        ValueError: where a row to be fitted is not finite, or there are too few.
    """
    others = {name: table for name, table in foreign.items() if len(table) >= size}
    found: Aurocs = {name: {} for name in others}
    for detector in DETECTORS:
        density = create(detector).fit(_grouped(fit, size))
        mine = density.score(_grouped(test, size))
        for name, table in others.items():
            theirs = density.score(_grouped(table, size))
            found[name][detector] = estimate(auroc, mine, theirs, seed=seed, repeats=repeats)
    return found


def _grouped(features: Features, size: int) -> Features:
    return features if size == 1 else features.grouped(size)
