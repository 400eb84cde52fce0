"""A rectified flow: a UNet that predicts the velocity from data to noise on a straight line.

    x_s = (1 - s) x + s eps,    loss = |(eps - x) - v_theta(x_s, s T)|^2,    0 < s <= 1

Flow Matching for Generative Modeling (Lipman et al., 2022, arXiv:2210.02747) and Flow Straight and
Fast (Liu et al., 2022, arXiv:2209.03003); samples solve dx = v ds from noise to data. The bound on
log p is that of Variational Diffusion Models (Kingma et al., 2021, arXiv:2107.00630), which holds
for any denoiser, here x_s - s v. Inside, data lie in [-1, 1].
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from fimetric.models.discretised import discretised_gaussian
from fimetric.models.family import Model
from fimetric.models.unet import unet
from fimetric.noise import drawn

FIRST = 0.01  # noise level where the bound turns to the 256 levels, as wide as DDPM's first step


@dataclass(frozen=True)
class RectifiedFlowConfig:
    """Sizes of a :class:`RectifiedFlow`.

    ``channels`` has one entry per resolution; height and width have to be multiples of
    ``2 ** (len(channels) - 1)``. ``groups`` is the number of groups of every GroupNorm.
    ``timesteps`` is T, in which the network is told the noise level.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    layers: int = 1
    groups: int = 8
    attention: bool = True
    timesteps: int = 1000


class RectifiedFlow(Model):
    """Creates a rectified flow; ``unet`` and ``scheduler`` are those of the library diffusers.

    Arguments:
        config: Sizes, see :class:`RectifiedFlowConfig`.
        shape: Shape (C, H, W) of one sample.

    Raises:
        ValueError: where H or W does not fit the resolutions.
    """

    Config = RectifiedFlowConfig
    CONFIGS: ClassVar[dict[str, RectifiedFlowConfig]] = {
        "tiny": RectifiedFlowConfig(channels=(16, 32), groups=4, attention=False),
        "small": RectifiedFlowConfig(channels=(16, 32, 64), layers=1),
        "paper": RectifiedFlowConfig(channels=(32, 64, 128, 256), layers=2),
    }

    def __init__(self, config: RectifiedFlowConfig, shape: tuple[int, int, int]) -> None:
        """Make the parameters.

        Raises:
            ValueError: for a size that the resolutions do not divide, or no channels.
        """
        from diffusers import FlowMatchEulerDiscreteScheduler  # slow to import

        super().__init__()
        self.config, self.shape = config, shape
        self.unet = unet(shape, config.channels, config.layers, config.groups, config.attention)
        self.scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=config.timesteps)

    def velocity(self, x_s: Tensor, s: Tensor) -> Tensor:
        """Return the velocity (N, C, H, W) of x_s (N, C, H, W) at noise levels s (N,) in (0, 1]."""
        return self.unet(x_s, s * self.config.timesteps).sample

    def _errors(self, x: Tensor, s: Tensor, generator: Generator | None) -> Tensor:
        """Return the errors of the velocity (N, C, H, W) on x in [-1, 1] at noise levels s (N,)."""
        eps = drawn("normal", x.shape, generator).to(x)
        level = s.reshape(-1, 1, 1, 1)
        return eps - x - self.velocity((1 - level) * x + level * eps, s)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the error of the velocity (N,), summed over dimensions, each at its noise level.

        x (N, C, H, W) lies in [0, 1]; levels and noise are drawn on the CPU. Every level is uniform
        in (0, 1], and those of a batch are evenly spaced, as Kingma et al. draw them. The loss is a
        reweighted bound, so not in nats.
        """
        places = torch.arange(len(x), dtype=torch.float32) / max(len(x), 1)
        s = 1 - (places + drawn("uniform", (), generator)) % 1
        return self._errors(2 * x - 1, s.to(x), generator).square().flatten(1).sum(1)

    def bits_per_dim(self, x: Tensor, generator: Generator | None, levels: int = 20) -> Tensor:
        r"""Bound -log2 P(x) / dimensions from above, (N,), for 8-bit x (N, C, H, W) = k/255.

        The variational bound of Kingma et al. in continuous time, over the noise levels from
        s_0 = ``FIRST`` to 1. The signal-to-noise ratio is (1/s - 1)^2, and the error of the
        denoised image s times that of the velocity, so that

        .. math:: -\log P(x) \le - E \log P(x | x_{s_0})
            + \int_{s_0}^1 (1 - s) E \| \epsilon - x - v(x_s, s) \|^2 \, d \log s

        At s = 1 nothing is left of x: the prior has no cost. P(x|x_s) is a Gaussian over the 256
        levels about the denoised image, as wide as the noise.

        Arguments:
            x: Images in [0, 1].
            generator: Source of noise, on the CPU; one draw for each level.
            levels: How many noise levels stand for all, drawn one from each of as many strata,
                equal in log s; unbiased.

        Raises:
            ValueError: for no levels.
        """
        if levels < 1:
            raise ValueError(f"levels must be at least 1, got {levels}")
        x = 2 * x - 1
        width = -math.log(FIRST) / levels
        total = self._decoder_term(x, generator)
        for i in range(levels):
            places = i + drawn("uniform", (len(x),), generator).to(x)
            s = FIRST * (width * places).exp()
            error = self._errors(x, s, generator).square().flatten(1).sum(1)
            total = total + width * (1 - s) * error
        return total / (math.prod(self.shape) * math.log(2))

    def _decoder_term(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log P(x|x_s) in nats, (N,), of x in [-1, 1] at the first noise level."""
        error = self._errors(x, x.new_full((len(x),), FIRST), generator)
        denoised = x + FIRST * error
        return -discretised_gaussian(x, denoised, x.new_tensor(FIRST / (1 - FIRST)))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None, steps: int = 50) -> Tensor:
        """Return n draws (n, C, H, W) in [0, 1] on the grid k/255, by equal steps of Euler."""
        x = drawn("normal", (n, *self.shape), generator).to(self.unet.conv_in.weight)
        for i in range(steps, 0, -1):
            x = x - self.velocity(x, x.new_full((n,), i / steps)) / steps
        return ((x.clamp(-1, 1) + 1) * 127.5).round() / 255
