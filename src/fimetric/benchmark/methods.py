"""Every method of the benchmark: which table it needs, and which density judges it.

A method is a row in ``METHODS``; a table that methods share is a row in ``kinds.TABLES``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fimetric import detectors, statistics
from fimetric.benchmark.kinds import PYOD, REFERENCES, TABLES
from fimetric.benchmark.own import Foreign
from fimetric.benchmark.views import last_blocks, losses_alone, norm_layers, rounded
from fimetric.detectors import Density
from fimetric.features.table import Features
from fimetric.models.family import BOUND, DENOISER, LATENT_MAP, NATS, SCHEDULE, Family


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


DAUNCEY = "Dauncey et al. 2024"
MORNINGSTAR = "Morningstar et al. 2021"
BERGAMIN = "Bergamin et al. 2022"
SERRA = "Serra et al. 2020"
MAHMOOD = "Mahmood et al. 2021"

IMAGES, SOUNDS, TEXTS = ("images",), ("sounds",), ("texts",)
OURS, LOSSES = "this project", "the losses alone"

DEFAULT = detectors.DENSITIES[detectors.DEFAULT]
METHODS = {
    "fimetric": Method(
        "norms",
        DEFAULT,
        OURS,
        scheduled="norms by timestep",
        first_only=False,
    ),
    "nearest-neighbours": Method(
        "norms", detectors.NearestNeighbours, OURS, scheduled="norms by timestep"
    ),
    "neighbours-one-timestep": Method("norms", detectors.NearestNeighbours, OURS, (SCHEDULE,)),
    "losses-alone": Method(
        "norms",
        DEFAULT,
        OURS,
        view=losses_alone,
        scheduled="norms by timestep",
    ),
    "last-blocks": Method("norms", DEFAULT, OURS, samples=TEXTS, view=last_blocks),
    "norm-layers": Method("norms", DEFAULT, OURS, samples=TEXTS, view=norm_layers),
    "cheap": Method("norms", detectors.cheap, OURS, scheduled="norms by timestep"),
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
    "input-complexity-png": Method(
        "code lengths", detectors.InputComplexity, SERRA, (NATS,), samples=IMAGES
    ),
    "input-complexity-jpeg2000": Method(
        "code lengths",
        partial(detectors.InputComplexity, "jpeg2000"),
        SERRA,
        (NATS,),
        samples=IMAGES,
    ),
    "input-complexity-zlib": Method(
        "code lengths", partial(detectors.InputComplexity, "zlib"), SERRA, (NATS,), samples=IMAGES
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
        "losses by timestep",
        detectors.FullGaussian,
        LOSSES,
        (DENOISER,),
        first_only=False,
        samples=IMAGES,
    ),
    "losses-neighbours": Method(
        "losses by timestep", detectors.NearestNeighbours, LOSSES, (DENOISER,), samples=IMAGES
    ),
    "msma-mixture": Method(
        "scores by noise level", detectors.GaussianMixture, MAHMOOD, (DENOISER,), samples=IMAGES
    ),
    "msma-neighbours": Method(
        "scores by noise level", detectors.NearestNeighbours, MAHMOOD, (DENOISER,), samples=IMAGES
    ),
    "diffpath-6d": Method(
        "path", detectors.GaussianMixture, "Heng et al. 2024", (DENOISER,), samples=IMAGES
    ),
    "scoped": Method(
        "curvature",
        partial(detectors.KDE, largest=True),
        "Barkley et al. 2026",
        (DENOISER,),
        samples=IMAGES,
    ),
    "reconstruction": Method(
        "reconstruction", detectors.MeanZScore, "Graham et al. 2023", (DENOISER,), samples=IMAGES
    ),
    "likelihood-regret": Method("regret", detectors.MeanZScore, "Xiao et al. 2020", (BOUND,)),
    "perplexity": Method("tokens", partial(detectors.Column, "nll"), LOSSES, samples=TEXTS),
    "likelihood-ratio": Method("ratio", detectors.Column, "Ren et al. 2019", samples=TEXTS),
    "min-k": Method(
        "tokens", partial(detectors.Column, "min-20%"), "Shi et al. 2024", samples=TEXTS
    ),
    "min-k++": Method(
        "tokens", partial(detectors.Column, "min-20%++"), "Zhang et al. 2024", samples=TEXTS
    ),
    "zlib-ratio": Method(
        "zlib of texts",
        partial(detectors.Column, "nll/zlib"),
        "Carlini et al. 2021",
        samples=TEXTS,
    ),
    "mahalanobis": Method(
        "hidden states", detectors.FullGaussian, "Lee et al. 2018", samples=TEXTS
    ),
    "relative-mahalanobis": Method(
        "hidden states and background",
        detectors.RelativeMahalanobis,
        "Ren et al. 2023",
        samples=TEXTS,
    ),
    "autoencoder": Method(
        "autoencoder", partial(detectors.Column, "error"), "Koizumi et al. 2020", samples=SOUNDS
    ),
    "autoencoder-mahalanobis": Method(
        "autoencoder",
        partial(detectors.Column, "mahalanobis"),
        "Harada et al. 2023",
        samples=SOUNDS,
    ),
    "loudness": Method(
        "loudness", detectors.FullGaussian, "energy alone", samples=SOUNDS, view=rounded
    ),
    **{
        f"pyod-{name}": Method(
            f"outlier scores of {name}", detectors.Column, "PyOD", samples=("tables",)
        )
        for name in PYOD
    },
    "latent-fit": Method(
        "latents",
        partial(detectors.SmallestPValue, statistics.SITN, typicality=False),
        "Bomatter et al. 2026",
        (LATENT_MAP,),
        samples=IMAGES,
    ),
}
ASKED = (
    "nearest-neighbours",
    "losses-alone",
    "cheap",
    "last-blocks",
    "norm-layers",
    *(f"pyod-{name}" for name in PYOD),
)
"""Tried where a grid names them alone: what the norms add, deep models, whoever has PyOD."""
STANDARD = tuple(name for name in METHODS if name not in ASKED)
