"""A neural spline flow of tables: rows of numbers, made of the library zuko.

    log p(x) = log N(f(u); 0, 1) + log |det df/du| - sum_j log s_j,   u_j = (x_j - m_j) / s_j

Neural Spline Flows (Durkan et al., 2019, arXiv:1906.04032), in the autoregressive form. Mean m and
deviation s of each column are those of the training part.

Numbers in a table are rounded, and a density on rounded numbers grows without bound as it learns
their grid. So each value is trained on with uniform noise as wide as a step of its column, which is
the smallest difference between two of its training values: then the density times that step is a
probability, as for dequantised images (Theis et al., 2016, arXiv:1511.01844). What is repeated off
any grid, such as zeros among measurements, and the few rows that tables have, are smoothed by
Gaussian noise beside it (Noise Regularization for Conditional Density Estimation, Rothfuss et al.,
2019, arXiv:1907.08982). Scores and bits are taken of the values as they are.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from fimetric.features.screening import NO_SPREAD
from fimetric.libraries import library
from fimetric.models.family import Model
from fimetric.noise import drawn

MOST_WEIGHTS = 100_000_000  # zuko makes its masks in memory, even of models that are looked at only


@dataclass(frozen=True)
class NSFConfig:
    """Sizes of an :class:`NSF`: ``transforms`` by networks of ``layers`` of ``hidden`` units.

    Each transform is a spline of ``bins`` a column. ``noise`` is the deviation of the Gaussian
    noise in training, in deviations of a column: of 0, 0.05, 0.1 and 0.2 that with the best mean
    likelihood of held-out own rows on eight of the tables of docs/results/modalities, those without
    zeros among measurements, where less noise always seems better.
    """

    transforms: int = 3
    layers: int = 2
    hidden: int = 64
    bins: int = 8
    noise: float = 0.1


class NSF(Model):
    """Creates a neural spline flow of rows of D columns.

    Arguments:
        config: Sizes, see :class:`NSFConfig`.
        shape: Shape (D,) of one row.

    Raises:
        ImportError: without zuko.
        ValueError: for negative noise, or more weights than fit.
    """

    mean: Tensor
    deviation: Tensor
    step: Tensor

    Config = NSFConfig
    CONFIGS: ClassVar[dict[str, NSFConfig]] = {
        "tiny": NSFConfig(transforms=2, layers=1, hidden=16, bins=4),
        "small": NSFConfig(),
        "paper": NSFConfig(transforms=10, layers=2, hidden=256, bins=8),
    }
    FIRST = None
    HELD_OUT = 0.2

    def __init__(self, config: NSFConfig, shape: tuple[int]) -> None:
        """Make the parameters.

        Raises:
            ImportError: without zuko.
            ValueError: for negative noise, or more weights than fit.
        """
        super().__init__()
        if not 0 <= config.noise < math.inf:
            raise ValueError(f"noise must not be negative, got {config.noise}")
        self.config, self.shape = config, shape
        self.flow = _flow(config, shape[0])
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))
        self.register_buffer("step", torch.zeros(shape))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set mean, deviation and step of the columns from all training rows x (N, D).

        The deviation of a column without spread counts as 1.
        """
        x = x.double()
        deviation = x.std(0, correction=0)
        deviation[deviation <= NO_SPREAD * x.abs().amax(0)] = 1.0
        self.mean.copy_(x.mean(0))
        self.deviation.copy_(deviation)
        self.step.copy_(_steps(x))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (N, D), standard normal under the model, and log |det| (N,) of x."""
        u = (x - self.mean) / self.deviation
        z, log_det = self.flow().transform.call_and_ladj(u)
        return z, log_det - self.deviation.log().sum()

    def inverse(self, latents: Tensor) -> Tensor:
        """Return x (N, D) of the latents that :meth:`transform` gives."""
        return self.flow().transform.inv(latents) * self.deviation + self.mean

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density (N,), in nats, of rows x (N, D) in their own units."""
        z, log_det = self.transform(x)
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log p (N,) in nats of x (N, D) with fresh noise, see the head of this file."""
        rounding = drawn("uniform", x.shape, generator).to(x) - 0.5
        smoothing = drawn("normal", x.shape, generator).to(x)
        noise = self.step * rounding + self.config.noise * self.deviation * smoothing
        return -self.log_prob(x + noise)

    def bits_per_dim(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log2 p(x) / D, (N,), of rows x (N, D) as they are."""
        return -self.log_prob(x) / (self.shape[0] * math.log(2))

    def latent_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of one row's latents."""
        return [self.shape]

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None) -> Tensor:
        """Return n draws (n, D) of the density."""
        return self.inverse(drawn("normal", (n, *self.shape), generator).to(self.mean))


def _steps(x: Tensor) -> Tensor:
    """Return the smallest difference between two values of each column of x (N, D), 0 if none."""
    gaps = torch.cat([x.sort(0).values.diff(dim=0), torch.full_like(x[:1], torch.inf)])
    smallest = torch.where(gaps > 0, gaps, torch.inf).amin(0)
    return torch.where(smallest.isfinite(), smallest, 0.0)


def _flow(config: NSFConfig, columns: int) -> Any:
    """Return the flow of standardised rows.

    Raises:
        ImportError: without zuko.
        ValueError: for more weights than fit.
    """
    zuko = library("zuko", "fimetric[tables]")
    ends = columns * (3 * config.bins - 1)  # widths, heights and slopes of the splines
    inside = config.hidden * (columns + (config.layers - 1) * config.hidden + ends)
    if config.transforms * inside > MOST_WEIGHTS:
        raise ValueError(
            f"{config} has {config.transforms * inside:,} weights for {columns} columns; "
            f"at most {MOST_WEIGHTS:,} are made: take smaller sizes"
        )
    with torch.device("cpu"):  # masks are worked out from numbers, which meta tensors lack
        return zuko.flows.NSF(
            columns,
            transforms=config.transforms,
            bins=config.bins,
            hidden_features=(config.hidden,) * config.layers,
        )
