"""Every method of the benchmark: which table it needs, and which density judges it.

A method is a row in ``METHODS``; a table that methods share is a row in ``TABLES``. All of them see
the same trained model, the same samples and the same noise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fimetric import detectors, statistics
from fimetric.data import Samples
from fimetric.detectors import Density
from fimetric.extraction.extractor import Extractor
from fimetric.models import Model
from fimetric.objectives import Objective, several_timesteps, standard_objective
from fimetric.statistics.base import Statistic, StatisticExtractor

FAMILIES = ("vae", "glow", "diffusion")
WITH_LIKELIHOOD = ("vae", "glow")  # a denoising loss is no number of nats


@dataclass(frozen=True)
class Source:
    """What a table is made from.

    Arguments:
        model: the trained model.
        objectives: of all members of its kind, its own first.
        reference: returns the own samples that densities are fitted on.
        seed: of the noise.
    """

    model: Model
    objectives: tuple[Objective, ...]
    reference: Callable[[], Samples]
    seed: int

    @property
    def objective(self) -> Any:
        """The model's own objective."""
        return self.objectives[0]


@dataclass(frozen=True)
class Table:
    """A table of features: what turns batches into it, and how much work a sample is.

    ``cost`` is in forward passes; a table that is ``costly`` is made of fewer samples. One that
    ``learns`` does so from the own samples that densities are fitted on; one of ``members`` is made
    of all models of a kind.
    """

    make: Callable[[Source], Extractor | Statistic]
    cost: float
    costly: bool = False
    learns: bool = False
    members: bool = False

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
        families: of models that it can be used with.
        diffusion: the table for diffusion models, where it is another one.
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
    families: tuple[str, ...] = FAMILIES
    diffusion: str | None = None
    joint: bool = False
    members: int = 1
    first_only: bool = True
    skipped: int = 0

    def table_of(self, family: str) -> str:
        """Return the name of the table for a family of models."""
        return self.diffusion if family == "diffusion" and self.diffusion else self.table

    def words(self) -> list[Any]:
        """Return what the scores depend on beside the table, as values for JSON."""
        density = self.density()
        settings = sorted((k, repr(v)) for k, v in vars(density).items())
        return [density.name, settings, self.joint, self.skipped]


def _at_several_timesteps(source: Source) -> Extractor:
    times = several_timesteps(source.model)
    return Extractor(standard_objective(source.model, times, seed=source.seed))


def _whitened(source: Source) -> Statistic:
    own = source.reference()  # a density is fitted on what is left of it
    reference = own.select(range(min(REFERENCES, len(own) // 2)))
    return statistics.WhitenedGradient(source.objective, reference, progress=False)


REFERENCES = 200  # for the whitening
TABLES = {
    "norms": Table(lambda s: Extractor(s.objective), 3),
    "norms by timestep": Table(_at_several_timesteps, 9),
    "code lengths": Table(lambda s: statistics.CodeLengths(s.objective), 1),
    "members": Table(lambda s: statistics.EnsembleLosses(s.objectives), 3, members=True),
    "parts of the bound": Table(lambda s: statistics.DoseStatistics(s.objective), 4),
    "whitened gradient": Table(_whitened, 9, learns=True),
    "losses by timestep": Table(lambda s: statistics.MultiscaleLosses(s.objective), 11),
    "scores by noise level": Table(lambda s: statistics.MSMA(s.objective), 11),
    "path": Table(lambda s: statistics.DiffPath(s.objective), 11),
    "curvature": Table(lambda s: statistics.SCOPED(s.objective), 7),
    "reconstruction": Table(lambda s: statistics.Reconstruction(s.objective), 26, costly=True),
    "regret": Table(lambda s: statistics.LikelihoodRegret(s.objective), 300, costly=True),
    "latents": Table(lambda s: statistics.LatentFit(s.objective), 2),
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
        diffusion="norms by timestep",
        first_only=False,
    ),
    "neighbours-one-timestep": Method("norms", detectors.NearestNeighbours, OURS, ("diffusion",)),
    "full-gaussian": Method("norms", detectors.FullGaussian, OURS, diffusion="norms by timestep"),
    "likelihood": Method("norms", detectors.Likelihood, "Nalisnick et al. 2019a", first_only=False),
    "typicality": Method("norms", detectors.Typicality, "Nalisnick et al. 2019b", first_only=False),
    "typicality-by-timestep": Method(
        "norms by timestep", detectors.Typicality, LOSSES, ("diffusion",)
    ),
    "layerwise-gaussian": Method(
        "norms", detectors.LayerwiseGaussian, DAUNCEY, joint=True, first_only=False
    ),
    "layerwise-gaussian-of-means": Method("norms", detectors.LayerwiseGaussian, OURS),
    "input-complexity-png": Method(
        "code lengths", detectors.InputComplexity, SERRA, WITH_LIKELIHOOD
    ),
    "input-complexity-jpeg2000": Method(
        "code lengths", partial(detectors.InputComplexity, "jpeg2000"), SERRA, WITH_LIKELIHOOD
    ),
    "input-complexity-zlib": Method(
        "code lengths", partial(detectors.InputComplexity, "zlib"), SERRA, WITH_LIKELIHOOD
    ),
    "waic": Method("members", detectors.WAIC, "Choi et al. 2018", members=3),
    "dose-kde": Method("parts of the bound", detectors.KDE, MORNINGSTAR, WITH_LIKELIHOOD),
    "dose-svm": Method("parts of the bound", detectors.OneClassSVM, MORNINGSTAR, WITH_LIKELIHOOD),
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
        "losses by timestep", detectors.FullGaussian, LOSSES, ("diffusion",), first_only=False
    ),
    "losses-neighbours": Method(
        "losses by timestep", detectors.NearestNeighbours, LOSSES, ("diffusion",)
    ),
    "msma-mixture": Method(
        "scores by noise level", detectors.GaussianMixture, MAHMOOD, ("diffusion",)
    ),
    "msma-neighbours": Method(
        "scores by noise level", detectors.NearestNeighbours, MAHMOOD, ("diffusion",)
    ),
    "diffpath-6d": Method("path", detectors.GaussianMixture, "Heng et al. 2024", ("diffusion",)),
    "scoped": Method(
        "curvature",
        partial(detectors.KDE, largest=True),
        "Barkley et al. 2026",
        ("diffusion",),
    ),
    "reconstruction": Method(
        "reconstruction", detectors.MeanZScore, "Graham et al. 2023", ("diffusion",)
    ),
    "likelihood-regret": Method("regret", detectors.MeanZScore, "Xiao et al. 2020", ("vae",)),
    "latent-fit": Method(
        "latents",
        partial(detectors.SmallestPValue, statistics.SITN, typicality=False),
        "Bomatter et al. 2026",
        ("glow",),
    ),
}
