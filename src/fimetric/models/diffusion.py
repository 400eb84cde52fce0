"""A denoising diffusion model of images: a UNet that predicts the noise in a noisy image.

Noise, loss, bound and sampling are those of ``ddpm``; inside, data lie in [-1, 1].
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from fimetric.models.ddpm import DDPM, DDPMConfig
from fimetric.models.discretised import discretised_gaussian


@dataclass(frozen=True)
class DiffusionConfig(DDPMConfig):
    """Sizes of a :class:`Diffusion`, see :class:`fimetric.models.ddpm.DDPMConfig`."""


class Diffusion(DDPM):
    """Creates a diffusion model; ``unet`` and ``scheduler`` are those of the library diffusers.

    Arguments:
        config: Sizes, loss and noise schedule, see :class:`DiffusionConfig`.
        shape: Shape (C, H, W) of one sample.

    Raises:
        ValueError: where H or W does not fit the resolutions, or the loss is unknown.
    """

    Config = DiffusionConfig
    CONFIGS: ClassVar[dict[str, DiffusionConfig]] = {
        "tiny": DiffusionConfig(channels=(16, 32), groups=4, attention=False),
        "small": DiffusionConfig(channels=(16, 32, 64), layers=1),
        "paper": DiffusionConfig(channels=(32, 64, 128, 256), layers=2, loss="l1"),
    }

    def __init__(self, config: DiffusionConfig, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape, shape)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the denoising loss (N,), summed over dimensions, each at its own random timestep.

        x (N, C, H, W) lies in [0, 1]; see :meth:`fimetric.models.ddpm.DDPM.denoising_losses`.
        """
        return self.denoising_losses(2 * x - 1, generator)

    def bits_per_dim(
        self, x: Tensor, generator: Generator | None, timesteps: int | None = 20
    ) -> Tensor:
        """Bound -log2 P(x) / dimensions from above, (N,), for 8-bit x (N, C, H, W) = k/255.

        The last step is a Gaussian over the 256 levels; generator and timesteps are those of
        :meth:`fimetric.models.ddpm.DDPM.bound`.
        """
        total = self.bound(2 * x - 1, generator, timesteps)
        return total / (math.prod(self.shape) * math.log(2))

    def _decoder_term(self, x0: Tensor, generator: Generator | None) -> Tensor:
        """Return -log p(x_0|x_1) in nats, (N,): a Gaussian over the 256 levels, outer bins open."""
        mean, beta = self._last_mean(x0, generator)
        return -discretised_gaussian(x0, mean, beta.double().sqrt())

    @torch.no_grad()
    def sample(
        self, n: int, generator: Generator | None, steps: int = 50, eta: float = 0.0
    ) -> Tensor:
        """Return n draws (n, C, H, W) in [0, 1] on the grid k/255, by DDIM in ``steps`` steps.

        ``eta`` is the share of fresh noise (Song et al., eq. 16): 0 is deterministic DDIM, 1 in
        all timesteps the ancestral sampling of DDPM.
        """
        x = self._denoised(n, generator, steps, eta, limit=1.0)
        return ((x + 1) * 127.5).round() / 255
