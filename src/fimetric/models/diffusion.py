"""A denoising diffusion model: a UNet that predicts the noise in a noisy image.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps,    loss = |eps - eps_theta(x_t, t)|^2

Denoising Diffusion Probabilistic Models (Ho et al., 2020, arXiv:2006.11239), whose bound on log p
is ``bits_per_dim``; sampling by Denoising Diffusion Implicit Models (Song et al., 2021,
arXiv:2010.02502). Timesteps are indices from 0 on, as in ``scheduler.alphas_cumprod``; inside,
data lie in [-1, 1].
"""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from fimetric.models.discretised import discretised_gaussian
from fimetric.models.family import Model
from fimetric.models.unet import unet
from fimetric.noise import drawn


@dataclass(frozen=True)
class DiffusionConfig:
    """Sizes of a :class:`Diffusion`.

    ``channels`` has one entry per resolution; height and width have to be multiples of
    ``2 ** (len(channels) - 1)``. ``groups`` is the number of groups of every GroupNorm.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    layers: int = 1
    groups: int = 8
    attention: bool = True
    loss: Literal["l2", "l1"] = "l2"
    timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02


class Diffusion(Model):
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
        """Make the parameters.

        Raises:
            ValueError: for a size that the resolutions do not divide, no channels, or an unknown
                loss.
        """
        from diffusers import DDPMScheduler  # slow to import

        super().__init__()
        if config.loss not in ("l2", "l1"):
            raise ValueError(f"loss must be 'l2' or 'l1', got {config.loss!r}")
        self.config, self.shape = config, shape
        self.unet = unet(shape, config.channels, config.layers, config.groups, config.attention)
        self.scheduler = DDPMScheduler(
            num_train_timesteps=config.timesteps,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            beta_schedule="linear",
        )

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the predicted noise (N, C, H, W) of x_t (N, C, H, W) at timesteps t (N,)."""
        return self.unet(x_t, t).sample

    def _abar(self, x: Tensor) -> Tensor:
        return self.scheduler.alphas_cumprod.to(x)

    def _noisy(self, x0: Tensor, t: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        eps = drawn("normal", x0.shape, generator).to(x0)
        abar = self._abar(x0)[t].reshape(-1, 1, 1, 1)
        return abar.sqrt() * x0 + (1 - abar).sqrt() * eps, eps

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the denoising loss (N,), summed over dimensions, each at its own random timestep.

        x (N, C, H, W) lies in [0, 1]; timesteps and noise are drawn on the CPU. The loss is the
        simplified objective of Ho et al., eq. 14: a reweighted bound, so not in nats.
        """
        t = torch.randint(self.config.timesteps, (len(x),), generator=generator).to(x.device)
        x_t, eps = self._noisy(2 * x - 1, t, generator)
        error = eps - self.predict(x_t, t)
        error = error.abs() if self.config.loss == "l1" else error.square()
        return error.flatten(1).sum(1)

    def bits_per_dim(
        self, x: Tensor, generator: Generator | None, timesteps: int | None = 20
    ) -> Tensor:
        """Bound -log2 P(x) / dimensions from above, (N,), for 8-bit x (N, C, H, W) = k/255.

        The variational bound of Ho et al., eq. 5, with the variance of the reverse steps fixed to
        beta_t: prior term, one term for each timestep, and a Gaussian over the 256 levels for the
        last step.

        Arguments:
            x: Images in [0, 1].
            generator: Source of noise, on the CPU; one draw for each term.
            timesteps: How many timesteps stand for all, drawn one from each of as many strata,
                which widen geometrically since early terms vary most; unbiased. None takes all.
        """
        x0 = 2 * x - 1
        total = self._prior_term(x0) + self._decoder_term(x0, generator)
        edges = strata(self.config.timesteps, timesteps)
        for low, high in itertools.pairwise(edges):
            t = torch.randint(low, high, (len(x),), generator=generator).to(x.device)
            total = total + (high - low) * self._step_term(x0, t, generator)
        return total / (math.prod(self.shape) * math.log(2))

    def _prior_term(self, x0: Tensor) -> Tensor:
        """Return KL(q(x_T|x_0) || N(0, 1)) in nats, (N,)."""
        abar = self._abar(x0)[-1]
        kl = 0.5 * (abar * x0.square() - abar - torch.log1p(-abar))
        return kl.flatten(1).sum(1)

    def _step_term(self, x0: Tensor, t: Tensor, generator: Generator | None) -> Tensor:
        """Return KL(q(x_{t-1}|x_t, x_0) || p(x_{t-1}|x_t)) in nats, (N,), for t >= 1."""
        x_t, eps = self._noisy(x0, t, generator)
        betas, abar = self.scheduler.betas.to(x0), self._abar(x0)
        beta = betas[t]
        # mean of p against mean of q: beta / sqrt(alpha (1 - abar)) times the error of the noise
        weight = beta / (2 * (1 - beta) * (1 - abar[t]))
        ratio = (1 - abar[t - 1]) / (1 - abar[t])  # variance of q over that of p, which is beta
        variance = 0.5 * math.prod(self.shape) * (ratio - 1 - ratio.log())
        error = (eps - self.predict(x_t, t)).square().flatten(1).sum(1)
        return weight * error + variance

    def _decoder_term(self, x0: Tensor, generator: Generator | None) -> Tensor:
        """Return -log p(x_0|x_1) in nats, (N,): a Gaussian over the 256 levels, outer bins open."""
        t = torch.zeros(len(x0), dtype=torch.long, device=x0.device)
        x_t, _ = self._noisy(x0, t, generator)
        beta = self.scheduler.betas.to(x0)[0]
        mean = (x_t - beta.sqrt() * self.predict(x_t, t)) / (1 - beta).sqrt()
        return -discretised_gaussian(x0, mean, beta.double().sqrt())

    @torch.no_grad()
    def sample(
        self, n: int, generator: Generator | None, steps: int = 50, eta: float = 0.0
    ) -> Tensor:
        """Return n draws (n, C, H, W) in [0, 1] on the grid k/255, by DDIM in ``steps`` steps.

        ``eta`` is the share of fresh noise (Song et al., eq. 16): 0 is deterministic DDIM, 1 in
        all timesteps the ancestral sampling of DDPM.
        """
        x = drawn("normal", (n, *self.shape), generator).to(self.unet.conv_in.weight)
        abar = torch.cat([self._abar(x), x.new_ones(1)])  # its last entry is that of t = -1
        spaced = torch.linspace(self.config.timesteps - 1, 0, steps, dtype=torch.float32)
        path = spaced.round().long().tolist()
        for t, later in zip(path, [*path[1:], -1], strict=True):
            eps = self.predict(x, torch.full((n,), t, device=x.device))
            x0 = ((x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()).clamp(-1, 1)
            eps = (x - abar[t].sqrt() * x0) / (1 - abar[t]).sqrt()
            fresh = (1 - abar[later]) / (1 - abar[t]) * (1 - abar[t] / abar[later])
            x = abar[later].sqrt() * x0 + (1 - abar[later] - eta**2 * fresh).sqrt() * eps
            if eta:
                noise = drawn("normal", (n, *self.shape), generator).to(x)
                x = x + eta * fresh.sqrt() * noise
        return ((x + 1) * 127.5).round() / 255


def strata(total: int, number: int | None) -> list[int]:
    """Return edges 1 = e_0 < ... = total of at most ``number`` strata of timesteps 1..total-1.

    Raises:
        ValueError: for a number below 1.

    >>> strata(1000, 4)
    [1, 6, 32, 178, 1000]
    """
    if number is None:
        return list(range(1, total + 1))
    if number < 1:
        raise ValueError(f"timesteps must be at least 1, or None for all, got {number}")
    edges = [round(total ** (i / number)) for i in range(number + 1)]
    return sorted({1, *edges, total})
