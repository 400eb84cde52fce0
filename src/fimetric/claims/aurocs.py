"""How well likelihood, typicality and the layer-wise Gaussian tell foreign sets from own data."""

from collections.abc import Mapping

from fimetric.detectors import create
from fimetric.features.table import Features
from fimetric.judging.judge import estimates, judge
from fimetric.metrics import Estimate

DENSITY, RIVAL = "layerwise-gaussian", "typicality"
DETECTORS = ("likelihood", RIVAL, DENSITY)

OWN = ""  # a name that no foreign set has
Aurocs = dict[str, dict[str, Estimate]]  # foreign set -> detector


def aurocs(
    fit: Features,
    test: Features,
    foreign: Mapping[str, Features],
    seed: int,
    size: int = 1,
    repeats: int | None = None,
) -> Aurocs:
    """Return foreign set -> detector -> AUROC.

    Arguments:
        fit: own rows that the densities are fitted on, of single samples.
        test: own rows that are scored.
        foreign: set -> rows; sets of less than one group are left out.
        seed: of the bootstrap.
        size: samples to a group, described by the mean of their log norms.
        repeats: of the bootstrap; those of ``judging`` if None.

    Raises:
        ValueError: where a row to be fitted is not finite, or there are too few.
    """
    others = {name: table for name, table in foreign.items() if len(table) >= size}
    sets = {n: _grouped(table, size) for n, table in {OWN: test, **others}.items()}
    found: Aurocs = {name: {} for name in others}
    for detector in DETECTORS:
        scores = judge(create(detector), _grouped(fit, size), sets, OWN).scores
        for name, area in estimates(scores, OWN, seed, repeats=repeats).items():
            found[name][detector] = area
    return found


def _grouped(features: Features, size: int) -> Features:
    return features if size == 1 else features.grouped(size)
