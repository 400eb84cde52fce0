"""Every table of the benchmark: what turns the samples of a model into rows.

All of them see the same trained model, the same samples and the same noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from fimetric import statistics
from fimetric.data import Samples
from fimetric.data.samples import joined
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.loss_parts import FREE
from fimetric.models.family import Model
from fimetric.objectives import Objective, several_timesteps, standard_objective
from fimetric.statistics.base import Statistic, StatisticExtractor
from fimetric.statistics.outlier_scores import DETECTORS as PYOD


@dataclass(frozen=True)
class Source:
    """What a table is made from.

    Arguments:
        model: the trained model, where it is of a family.
        objectives: of all members of its kind, its own first.
        reference: returns the own samples that densities are fitted on.
        seed: of the noise.
        training: returns the own samples that the model was trained on.
        background: of the model that likelihood ratios are taken to, where there is one.
    """

    model: Model | None
    objectives: tuple[Objective, ...]
    reference: Callable[[], Samples]
    seed: int
    training: Callable[[], Samples]
    background: Objective | None = None

    @property
    def objective(self) -> Any:
        """The model's own objective."""
        return self.objectives[0]


@dataclass(frozen=True)
class TableKind:
    """A kind of table of features: what turns batches into it, and how much work a sample is.

    Arguments:
        make: makes it.
        cost: of a sample, in forward passes.
        costly: whether it is made of fewer samples.
        learns: from which own samples it learns first: those that densities are fitted on
            (``reference``), those that the model was trained on (``training``), or ``both``.
        members: whether it is made of all models of a kind.
        background: whether it is made of a background model, too.
    """

    make: Callable[[Source], Extractor | Statistic]
    cost: float
    costly: bool = False
    learns: Literal["", "reference", "training", "both"] = ""
    members: bool = False
    background: bool = False

    def extractor(self, source: Source) -> Any:
        """Return what turns a batch into features."""
        made = self.make(source)
        return StatisticExtractor(made) if isinstance(made, Statistic) else made


def _at_several_timesteps(source: Source) -> Extractor:
    assert source.model is not None  # a family has a schedule
    times = several_timesteps(source.model)
    return Extractor(standard_objective(source.model, times, seed=source.seed), parts=FREE)


def _whitened(source: Source) -> Statistic:
    own = source.reference()  # a density is fitted on what is left of it
    reference = own.select(range(min(REFERENCES, len(own) // 2)))
    return statistics.WhitenedGradient(source.objective, reference, progress=False)


def _ratio(source: Source) -> Statistic:
    background: Any = source.background  # a causal language model, or it is refused
    return statistics.LikelihoodRatio(source.objective, background)


def _hidden_beside_shuffled(source: Source) -> Statistic:
    background = statistics.shuffled(source.objective, source.reference())
    return statistics.HiddenStates(source.objective, background, progress=False)


def _outlier_scores(detector: str) -> TableKind:
    """Return the table of a detector without a model, which learns from all that ours have seen."""

    def make(source: Source) -> Statistic:
        seen = joined(source.training(), source.reference())
        return statistics.OutlierScores(source.objective, seen, detector, source.seed)

    return TableKind(make, 1, learns="both")


REFERENCES = 200  # for the whitening
TABLES = {
    "norms": TableKind(lambda s: Extractor(s.objective, parts=FREE), 3),
    "norms by timestep": TableKind(_at_several_timesteps, 9),
    "code lengths": TableKind(lambda s: statistics.CodeLengths(s.objective), 1),
    "members": TableKind(lambda s: statistics.EnsembleLosses(s.objectives), 3, members=True),
    "parts of the bound": TableKind(lambda s: statistics.DoseStatistics(s.objective), 4),
    "whitened gradient": TableKind(_whitened, 9, learns="reference"),
    "losses by timestep": TableKind(lambda s: statistics.MultiscaleLosses(s.objective), 11),
    "scores by noise level": TableKind(lambda s: statistics.MSMA(s.objective), 11),
    "path": TableKind(lambda s: statistics.DiffPath(s.objective), 11),
    "curvature": TableKind(lambda s: statistics.SCOPED(s.objective), 7),
    "reconstruction": TableKind(lambda s: statistics.Reconstruction(s.objective), 26, costly=True),
    "regret": TableKind(lambda s: statistics.LikelihoodRegret(s.objective), 300, costly=True),
    "tokens": TableKind(lambda s: statistics.TokenStatistics(s.objective), 2),
    "zlib of texts": TableKind(lambda s: statistics.ZlibRatio(s.objective), 2),
    "ratio": TableKind(_ratio, 3, background=True),
    "hidden states": TableKind(lambda s: statistics.HiddenStates(s.objective), 2),
    "hidden states and background": TableKind(_hidden_beside_shuffled, 2, learns="reference"),
    "autoencoder": TableKind(
        lambda s: statistics.AutoencoderError(s.objective, s.training()), 1, learns="training"
    ),
    "loudness": TableKind(lambda s: statistics.Loudness(s.objective), 1),
    **{f"outlier scores of {name}": _outlier_scores(name) for name in PYOD},
    "latents": TableKind(lambda s: statistics.LatentFit(s.objective), 2),
}
