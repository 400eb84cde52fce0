"""The candidates: columns, and the density on them. The simplest of the best becomes the default.

``steps`` counts what is done to a table before it is a score: standardising, putting the losses
beside, adding modules up, weighing, decorrelating, fitting, joining densities.
"""

from collections.abc import Callable
from dataclasses import dataclass

from columns import beside, losses, modules
from densities import (
    Balanced,
    CombinedPValues,
    GaussianCopula,
    PrincipalGaussian,
    StudentT,
    Whitened,
)
from tables import DISTANCE, EKFAC, FROM_MEAN, JOINT, THREE, TIMES

from fimetric.detectors import (
    KDE,
    Density,
    FullGaussian,
    IsolationForest,
    LayerwiseGaussian,
    NearestNeighbours,
    OneClassSVM,
    Typicality,
)
from fimetric.features.table import Features

Columns = Callable[[Features], Features]


@dataclass(frozen=True)
class Candidate:
    """Columns of a table and the density on them.

    Arguments:
        name: in the page.
        density: made anew for each model.
        times: timesteps of a diffusion model; other models have one view.
        columns: what is made of the table's columns.
        steps: of the density and the columns.
        table: see ``tables.measured``.
        has_density: whether minus the score is a log density of the columns.
    """

    name: str
    density: Callable[[], Density]
    times: tuple[int, ...] = THREE
    columns: Columns = lambda table: table
    steps: int = 1
    table: str = "norms"
    has_density: bool = False

    @property
    def passes(self) -> int:
        """Backward passes over a diffusion model."""
        return len(self.times) * (2 if self.table == "two draws" else 1)


def neighbours(k: int) -> Callable[[], Density]:
    return lambda: NearestNeighbours(k)


def neighbours_and_typicality() -> Density:
    return CombinedPValues(NearestNeighbours, Typicality)


PAPER = "independent Gaussians (the paper's)"
SIMPLER = "independent Gaussians, 3 timesteps"
CHOSEN = "neighbours of norms and losses, 3 timesteps"
LOSSES = "neighbours of losses alone, 6 timesteps"
ALL = (
    Candidate(PAPER, LayerwiseGaussian, (0,), has_density=True),
    Candidate(SIMPLER, LayerwiseGaussian, has_density=True),
    Candidate("independent Student t, 3 timesteps", StudentT, has_density=True),
    Candidate("independent kernel densities, 3 timesteps", KDE, has_density=True),
    Candidate("shrunk full covariance", FullGaussian, (0,), steps=2, has_density=True),
    Candidate("shrunk full covariance, 3 timesteps", FullGaussian, steps=2, has_density=True),
    Candidate(
        "shrunk full covariance, 3 timesteps, losses beside", FullGaussian, columns=beside, steps=3
    ),
    Candidate("principal components, 3 timesteps", PrincipalGaussian, steps=2, has_density=True),
    Candidate("Gaussian copula, 3 timesteps", GaussianCopula, steps=3, has_density=True),
    Candidate("one-class SVM, 3 timesteps", OneClassSVM, steps=2),
    Candidate("isolation forest, 3 timesteps", IsolationForest, steps=2),
    Candidate("neighbours of norms and losses, t = 0", NearestNeighbours, (0,), steps=3),
    Candidate("neighbours of norms and losses, t = 50", NearestNeighbours, (50,), steps=3),
    Candidate("neighbours of norms and losses, t = 300", NearestNeighbours, (300,), steps=3),
    Candidate(CHOSEN, NearestNeighbours, steps=3),
    Candidate("neighbours of norms and losses, 6 timesteps", NearestNeighbours, TIMES, steps=3),
    Candidate("the nearest alone, 3 timesteps", neighbours(1), steps=3),
    Candidate("ten neighbours, 3 timesteps", neighbours(10), steps=3),
    Candidate(
        "neighbours of modules and losses, 3 timesteps",
        NearestNeighbours,
        columns=modules,
        steps=4,
    ),
    Candidate("neighbours, norms and losses balanced, 3 timesteps", Balanced, steps=4),
    Candidate("neighbours, columns whitened, 3 timesteps", Whitened, steps=4),
    Candidate("p-values of neighbours and typicality combined", neighbours_and_typicality, steps=5),
    Candidate("p-values of three densities combined", CombinedPValues, steps=7),
    Candidate(LOSSES, NearestNeighbours, TIMES, losses, steps=2),
    Candidate(
        "shrunk full covariance of losses alone, 6 timesteps", FullGaussian, TIMES, losses, steps=2
    ),
    Candidate("typicality of the mean loss, 6 timesteps", Typicality, TIMES),
)
FURTHER = (  # on some of the models, since each needs tables of its own
    Candidate("joint gradients of groups, the chosen density", NearestNeighbours, table=JOINT),
    Candidate(
        "joint gradients of groups, independent Gaussians",
        LayerwiseGaussian,
        table=JOINT,
    ),
    Candidate(
        "joint gradients of groups, whitened and from the mean", NearestNeighbours, table=FROM_MEAN
    ),
    Candidate("two draws", NearestNeighbours, table="two draws"),
    *(
        Candidate(f"norms in the metric: {metric}", NearestNeighbours, table=metric)
        for metric in (EKFAC, DISTANCE)
    ),
)
