"""Every method of the benchmark: which table it needs, and which density judges it.

A method is a row in ``METHODS``; a table that methods share is a row in ``TABLES``. All of them see
the same trained model, the same samples and the same noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from fimetric import detectors, statistics
from fimetric.benchmark.own import Foreign
from fimetric.benchmark.views import last_blocks, losses_alone, norm_layers
from fimetric.data import Samples
from fimetric.detectors import Density
from fimetric.extraction.extractor import Extractor
from fimetric.features.table import Features
from fimetric.models.family import BOUND, LATENT_MAP, NATS, SCHEDULE, Family, Model
from fimetric.objectives import Objective, several_timesteps, standard_objective
from fimetric.statistics.base import Statistic, StatisticExtractor


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
            (``reference``), or those that the model was trained on (``training``).
        members: whether it is made of all models of a kind.
        background: whether it is made of a background model, too.
        of_training: whether it has rows of the samples that the model was trained on, too, on which
            the density is fitted as well: for rivals that need no model.
    """

    make: Callable[[Source], Extractor | Statistic]
    cost: float
    costly: bool = False
    learns: Literal["", "reference", "training"] = ""
    members: bool = False
    background: bool = False
    of_training: bool = False

    def extractor(self, source: Source) -> Any:
        """Return what turns a batch into features."""
        made = self.make(source)
        return StatisticExtractor(made) if isinstance(made, Statistic) else made


@dataclass(frozen=True)
class Method:
    """A way to score samples.

    Arguments:
        table: a name in ``TABLES``.
        density: makes the density that judges it.
        source: who proposed it.
        needs: of what a family may have, one of which it must; nothing if empty.
        samples: kinds of sample it is for; all if empty.
        view: what of the table it sees; all if None.
        scheduled: the table for models with a noise schedule, where it is another one.
        joint: whether a group is described by its joint gradient, as the paper does; else by the
            mean of its samples' columns, as is every statistic.
        members: how many models of a kind, trained from other seeds, it needs.
        first_only: whether models of further seeds are left out, to save time.
        skipped: rows of the own fitting part that its table was made with, so that no density may
            be fitted on them.
    """

    table: str
    density: Callable[[], Density]
    source: str
    needs: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    view: Callable[[Features], Features] | None = None
    scheduled: str | None = None
    joint: bool = False
    members: int = 1
    first_only: bool = True
    skipped: int = 0

    def fits(self, family: Family | Foreign) -> bool:
        """Return whether models of a family have what it needs."""
        suited = not self.samples or family.samples in self.samples
        return suited and (not self.needs or not family.has.isdisjoint(self.needs))

    @property
    def background(self) -> bool:
        """Whether it needs a background model."""
        return TABLES[self.table].background

    def seen(self, table: Features) -> Features:
        """Return what it sees of a table."""
        return table if self.view is None else self.view(table)

    def table_of(self, family: Family | Foreign) -> str:
        """Return the name of the table for a family of models."""
        return self.scheduled if SCHEDULE in family.has and self.scheduled else self.table

    def words(self) -> list[Any]:
        """Return what the scores depend on beside the table, as values for JSON."""
        density = self.density()
        settings = sorted((k, repr(v)) for k, v in vars(density).items())
        view = [] if self.view is None else [self.view.__name__]
        return [density.name, settings, self.joint, self.skipped, *view]


def _at_several_timesteps(source: Source) -> Extractor:
    assert source.model is not None  # a family has a schedule
    times = several_timesteps(source.model)
    return Extractor(standard_objective(source.model, times, seed=source.seed))


def _whitened(source: Source) -> Statistic:
    own = source.reference()  # a density is fitted on what is left of it
    reference = own.select(range(min(REFERENCES, len(own) // 2)))
    return statistics.WhitenedGradient(source.objective, reference, progress=False)


REFERENCES = 200  # for the whitening
TABLES = {
    "norms": TableKind(lambda s: Extractor(s.objective), 3),
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
    "latents": TableKind(lambda s: statistics.LatentFit(s.objective), 2),
}
DAUNCEY = "Dauncey et al. 2024"
MORNINGSTAR = "Morningstar et al. 2021"
BERGAMIN = "Bergamin et al. 2022"
SERRA = "Serra et al. 2020"
MAHMOOD = "Mahmood et al. 2021"

OURS, LOSSES = "this project", "the losses alone"

METHODS = {
    "fimetric": Method(
        "norms",
        detectors.DENSITIES[detectors.DEFAULT],
        OURS,
        scheduled="norms by timestep",
        first_only=False,
    ),
    "neighbours-one-timestep": Method("norms", detectors.NearestNeighbours, OURS, (SCHEDULE,)),
    "losses-alone": Method(
        "norms",
        detectors.NearestNeighbours,
        LOSSES,
        view=losses_alone,
        scheduled="norms by timestep",
    ),
    "last-blocks": Method(
        "norms", detectors.NearestNeighbours, OURS, samples=("texts",), view=last_blocks
    ),
    "norm-layers": Method(
        "norms", detectors.NearestNeighbours, OURS, samples=("texts",), view=norm_layers
    ),
    "full-gaussian": Method("norms", detectors.FullGaussian, OURS, scheduled="norms by timestep"),
    "likelihood": Method("norms", detectors.Likelihood, "Nalisnick et al. 2019a", first_only=False),
    "typicality": Method("norms", detectors.Typicality, "Nalisnick et al. 2019b", first_only=False),
    "typicality-by-timestep": Method(
        "norms by timestep", detectors.Typicality, LOSSES, (SCHEDULE,)
    ),
    "layerwise-gaussian": Method(
        "norms", detectors.LayerwiseGaussian, DAUNCEY, joint=True, first_only=False
    ),
    "layerwise-gaussian-of-means": Method("norms", detectors.LayerwiseGaussian, OURS),
    "input-complexity-png": Method("code lengths", detectors.InputComplexity, SERRA, (NATS,)),
    "input-complexity-jpeg2000": Method(
        "code lengths", partial(detectors.InputComplexity, "jpeg2000"), SERRA, (NATS,)
    ),
    "input-complexity-zlib": Method(
        "code lengths", partial(detectors.InputComplexity, "zlib"), SERRA, (NATS,)
    ),
    "waic": Method("members", detectors.WAIC, "Choi et al. 2018", members=3),
    "dose-kde": Method("parts of the bound", detectors.KDE, MORNINGSTAR, (BOUND, LATENT_MAP)),
    "dose-svm": Method(
        "parts of the bound", detectors.OneClassSVM, MORNINGSTAR, (BOUND, LATENT_MAP)
    ),
    "score-and-typicality": Method(
        "whitened gradient",
        partial(detectors.CombinedTests, ("score",)),
        BERGAMIN,
        skipped=REFERENCES,
    ),
    "mmd-and-typicality": Method(
        "whitened gradient",
        partial(detectors.CombinedTests, ("mmd",)),
        BERGAMIN,
        skipped=REFERENCES,
    ),
    "norms-svm": Method("norms", detectors.OneClassSVM, "Dauncey et al. 2023 (workshop)"),
    "norms-forest": Method("norms", detectors.IsolationForest, "Dauncey et al. 2023 (workshop)"),
    "losses-by-timestep": Method(
        "losses by timestep", detectors.FullGaussian, LOSSES, (SCHEDULE,), first_only=False
    ),
    "losses-neighbours": Method(
        "losses by timestep", detectors.NearestNeighbours, LOSSES, (SCHEDULE,)
    ),
    "msma-mixture": Method(
        "scores by noise level", detectors.GaussianMixture, MAHMOOD, (SCHEDULE,)
    ),
    "msma-neighbours": Method(
        "scores by noise level", detectors.NearestNeighbours, MAHMOOD, (SCHEDULE,)
    ),
    "diffpath-6d": Method("path", detectors.GaussianMixture, "Heng et al. 2024", (SCHEDULE,)),
    "scoped": Method(
        "curvature",
        partial(detectors.KDE, largest=True),
        "Barkley et al. 2026",
        (SCHEDULE,),
    ),
    "reconstruction": Method(
        "reconstruction", detectors.MeanZScore, "Graham et al. 2023", (SCHEDULE,)
    ),
    "likelihood-regret": Method("regret", detectors.MeanZScore, "Xiao et al. 2020", (BOUND,)),
    "latent-fit": Method(
        "latents",
        partial(detectors.SmallestPValue, statistics.SITN, typicality=False),
        "Bomatter et al. 2026",
        (LATENT_MAP,),
    ),
}
