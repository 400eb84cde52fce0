"""What is measured of the own data and of the outliers made from them; kept in runs/selection."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fimetric.benchmark.cases import Case, Sets, cases
from fimetric.benchmark.config import read
from fimetric.benchmark.variants import OUTLIERS, make
from fimetric.data import Samples
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.stream import run
from fimetric.features.groups import disjoint
from fimetric.features.table import Features
from fimetric.fingerprint.model import model_fingerprint
from fimetric.fisher.metrics import FisherMetric, Kronecker
from fimetric.fisher.metrics.base import MetricExtractor
from fimetric.fisher.metrics.blocks import Block, LayerNorms, Weighted, bytes_per_sample, square
from fimetric.fisher.metrics.reference import Layer, References
from fimetric.gradients import Contribution, GradientNorms
from fimetric.gradients.contributions import widened
from fimetric.gradients.contributions.base import in_chunks
from fimetric.models import Diffusion, Glow, load
from fimetric.objectives import standard_objective
from fimetric.statistics.whitened import CentredDiagonal
from fimetric.store.files import safe_name

ROOT = Path(__file__).parents[3]
RUNS = ROOT / "runs" / "selection"
TIMES, THREE = (0, 10, 50, 150, 300, 600), (0, 50, 300)
SIZE = 5  # of the groups
Tables = dict[str, Features]


class FromTheMean(CentredDiagonal):
    """The distance (g - m)^T F^-1 (g - m) from the mean gradient m, tensor by tensor.

    Of the summed gradient of ``samples`` it is the distance from as many means.
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__()
        self.samples = samples

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "samples": self.samples}

    def _fit(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> LayerNorms:
        found = super()._fit(references, norms, prefix, layers)
        for name, block in found.blocks.items():
            if isinstance(block, Weighted):
                found.blocks[name] = Away(block, self.samples * self.means_[prefix][name])
        return found


class Away(Block):
    """Distances from a mean, (*shape), in the metric of a diagonal block."""

    def __init__(self, block: Weighted, mean: Any) -> None:
        self.F, self.mean, self.noise = block.F, mean, block.noise

    def squared_norms(self, contribution: Contribution) -> Any:
        def norms(part: Contribution) -> Any:
            return (square(widened(part.dense()) - self.mean) / self.F).flatten(1).sum(1)

        return in_chunks(contribution, norms, bytes_per_sample(contribution))


JOINT, FROM_MEAN = "joint gradients", "joint gradients from the mean"
EKFAC, DISTANCE = "EKFAC", "distance from the mean"
METRICS: dict[str, Callable[[], FisherMetric]] = {
    EKFAC: Kronecker,
    DISTANCE: FromTheMean,
    FROM_MEAN: partial(FromTheMean, SIZE),
}


def models() -> list[Case]:
    """Return the models of the benchmark's tier cpu, the first of each kind."""
    return [case for case in cases(read("cpu")) if case.first]


def sets_of(case: Case) -> dict[str, Samples]:
    """Return the parts for density and calibration, and the outliers made of the latter."""
    parts = Sets(case).parts  # the benchmark's: its signs of one kind stay in one part
    held = parts["calibration"]
    return {"fit": parts["fit"], "cal": held} | {name: make(name, held) for name in OUTLIERS}


def group_size(table: str) -> int:
    """Return how many samples a row of a table has."""
    return SIZE if table in (JOINT, FROM_MEAN) else 1


def measured(case: Case, table: str) -> Tables:
    """Return a table of all sets of a model."""
    model, sets = load(ROOT / "checkpoints" / case.name), sets_of(case)
    if table == "two draws" and isinstance(model, Glow):
        table = "norms"  # a flow has no draws
    times = (TIMES if table == "norms" else THREE) if isinstance(model, Diffusion) else (0,)
    objective = standard_objective(model, times, draws=2 if table == "two draws" else 1)
    mark = model_fingerprint(model)[:8]  # a model trained anew is measured anew
    places = {name: RUNS / f"{case.name}-{mark}" / safe_name(f"{table}-{name}") for name in sets}
    if all(place.exists() for place in places.values()):
        return {name: Features.load(place) for name, place in places.items()}
    extractor = Extractor(objective)
    if table in METRICS:  # learned from every other row for the density
        fit = sets["fit"]
        references, sets["fit"] = (fit.select(range(k, len(fit), 2)) for k in (0, 1))
        extractor = MetricExtractor(METRICS[table]().fit(objective, references, progress=False))
    extractor.group_size = group_size(table)
    if extractor.group_size > 1:
        sets = {k: x.select(disjoint(len(x), SIZE, 0).ravel().tolist()) for k, x in sets.items()}
    return {name: run(extractor, x, 100, places[name], False) for name, x in sets.items()}
