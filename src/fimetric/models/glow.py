"""Glow, a normalising flow of invertible 1x1 convolutions and affine couplings.

    log p(x) = log p_z(f(x)) + log |det df/dx|

Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018,
arXiv:1807.03039); couplings, squeeze and multi-scale architecture of Density Estimation using Real
NVP (Dinh et al., 2017, arXiv:1605.08803). Nothing changes in a forward pass; the data-dependent
start is ``initialise(x)``. The layers are in ``glow_steps``.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from fimetric.models.family import Model
from fimetric.models.glow_steps import ActNorm, Coupling, InvertibleConv, Split, bounded
from fimetric.noise import drawn


@dataclass(frozen=True)
class GlowConfig:
    """Sizes of a :class:`Glow`: K ``steps`` on each of L ``levels``, ``hidden`` channels inside.

    ``logit`` > 0 puts logit(a + (1 - 2a) x), a = ``logit``, in front of the flow, which widens the
    spikes that black and white pixels make (Dinh et al., 2017); 0 means x - 1/2.
    """

    steps: int = 8
    levels: int = 3
    hidden: int = 96
    logit: float = 0.0


class Glow(Model):
    """Creates a Glow.

    At ``"paper"`` it has 1,352 parameter tensors: the original's 1,353 less the weight of a
    convolution over constant zeros, here left out of the learned top prior.

    Arguments:
        config: Sizes, see :class:`GlowConfig`.
        shape: Shape (C, H, W) of one sample.

    Raises:
        ValueError: where H or W is no multiple of ``2 ** levels``.
    """

    Config = GlowConfig
    CONFIGS: ClassVar[dict[str, GlowConfig]] = {
        "tiny": GlowConfig(steps=4, levels=2, hidden=32, logit=1e-4),
        "small": GlowConfig(steps=8, levels=3, hidden=96),
        "paper": GlowConfig(steps=32, levels=3, hidden=512),
    }

    def __init__(self, config: GlowConfig, shape: tuple[int, int, int]) -> None:
        """Make the parameters.

        Raises:
            ValueError: for a size that the levels do not divide, no levels, or a logit out of
                range.
        """
        super().__init__()
        C, H, W = shape
        if config.levels < 1 or H % 2**config.levels or W % 2**config.levels:
            raise ValueError(
                f"{config.levels} levels need a height and width divisible by "
                f"{2**config.levels}, got {H}x{W}; "
                "take a configuration with fewer (at least one) levels, or resize the data"
            )
        if not 0 <= config.logit < 0.5:
            raise ValueError(f"logit must lie in [0, 0.5), got {config.logit}")
        self.config, self.shape = config, (C, H, W)
        self.levels, self.splits = nn.ModuleList(), nn.ModuleList()
        for level in range(config.levels):
            C, H, W = 4 * C, H // 2, W // 2
            self.levels.append(_steps(C, config))
            if level < config.levels - 1:
                self.splits.append(Split(C))
                C //= 2
        self.top_shape = (C, H, W)
        self.top_mean = nn.Parameter(torch.zeros(C, 1, 1))
        self.top_log_std = nn.Parameter(torch.zeros(C, 1, 1))

    def _levels(self) -> list[list[Any]]:
        return [list(steps) for steps in cast(Iterable[nn.ModuleList], self.levels)]

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set every normalisation from images x (N, C, H, W) = k/255, once before training."""
        h, _ = self._enter(dequantise(x, Generator().manual_seed(0)))
        for level, steps in enumerate(self._levels()):
            h = F.pixel_unshuffle(h, 2)
            for layer in steps:
                if hasattr(layer, "initialise"):
                    layer.initialise(h)
                h = layer(h)[0]
            if level < len(self.splits):
                h = h.chunk(2, dim=1)[0]

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input of the flow proper and log |det| (N,)."""
        a = self.config.logit
        if not a:
            return x - 0.5, x.new_zeros(len(x))
        y = a + (1 - 2 * a) * x
        log_det = math.log(1 - 2 * a) - y.log() - torch.log1p(-y)
        return torch.logit(y), log_det.flatten(1).sum(1)

    def transform(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return latents, one per level and standard normal under the model, and log |det| (N,)."""
        latents = []
        h, total = self._enter(x)
        for level, steps in enumerate(self._levels()):
            h = F.pixel_unshuffle(h, 2)
            for layer in steps:
                h, log_det = layer(h)
                total = total + log_det
            if level < len(self.splits):
                h, off = h.chunk(2, dim=1)
                mean, log_std = self.splits[level].moments(h)  # type: ignore[operator]
            else:
                off, mean, log_std = h, self.top_mean, bounded(self.top_log_std).expand_as(h)
            latents.append((off - mean) * torch.exp(-log_std))
            total = total - log_std.flatten(1).sum(1)
        return latents, total

    def inverse(self, latents: list[Tensor]) -> Tensor:
        """Return x (N, C, H, W) of the latents that :meth:`transform` gives."""
        h = self.top_mean + torch.exp(bounded(self.top_log_std)) * latents[-1]
        for level in reversed(range(len(self.levels))):
            if level < len(self.splits):
                mean, log_std = self.splits[level].moments(h)  # type: ignore[operator]
                h = torch.cat([h, mean + torch.exp(log_std) * latents[level]], 1)
            for layer in reversed(self._levels()[level]):
                h = layer.inverse(h)
            h = F.pixel_shuffle(h, 2)
        a = self.config.logit
        return (torch.sigmoid(h) - a) / (1 - 2 * a) if a else h + 0.5

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density (N,), in nats, of continuous x (N, C, H, W) in [0, 1).

        8-bit images have to be dequantised by the caller: (k + u) / 256 with u uniform on [0, 1).
        """
        latents, log_det = self.transform(x)
        squares = torch.stack([z.flatten(1).square().sum(1) for z in latents]).sum(0)
        return log_det - 0.5 * squares - 0.5 * math.prod(self.shape) * math.log(2 * math.pi)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log p (N,) in nats of x (N, C, H, W) = k/255 with fresh dequantisation noise."""
        return -self.log_prob(dequantise(x, generator))

    def bits_per_dim(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Bound -log2 P(x) / dimensions from above, (N,), for 8-bit x (N, C, H, W) = k/255."""
        return 8 + self.training_losses(x, generator) / (math.prod(self.shape) * math.log(2))

    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """Return the shape of one sample's latent on every level."""
        C, H, W = self.shape
        shapes = [(C * 2 ** (i + 1), H >> (i + 1), W >> (i + 1)) for i in range(len(self.splits))]
        return [*shapes, self.top_shape]

    def draw_latents(self, n: int, generator: Generator | None) -> list[Tensor]:
        """Return n standard normal draws of the latents, one tensor per level."""
        latents = [drawn("normal", (n, *s), generator) for s in self.latent_shapes()]
        return [z.to(self.top_mean) for z in latents]

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None, temperature: float = 1.0) -> Tensor:
        """Return n draws (n, C, H, W) on the grid k/255, latents times ``temperature``."""
        x = self.inverse([temperature * z for z in self.draw_latents(n, generator)])
        return (x * 256).floor().clamp(0, 255) / 255


def dequantise(x: Tensor, generator: Generator | None) -> Tensor:
    """Return (255 x + u) / 256 with u uniform on [0, 1), drawn on the CPU."""
    return (255 * x + drawn("uniform", x.shape, generator).to(x)) / 256


def _steps(channels: int, config: GlowConfig) -> nn.ModuleList:
    layers: list[nn.Module] = []
    for _ in range(config.steps):
        layers += [ActNorm(channels), InvertibleConv(channels), Coupling(channels, config.hidden)]
    return nn.ModuleList(layers)
