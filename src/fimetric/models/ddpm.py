"""What all models by denoising diffusion share: noise, loss, variational bound and sampling.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps,    loss = |eps - eps_theta(x_t, t)|^2

Denoising Diffusion Probabilistic Models (Ho et al., 2020, arXiv:2006.11239), whose bound on log p
this is; sampling by Denoising Diffusion Implicit Models (Song et al., 2021, arXiv:2010.02502).
Timesteps are indices from 0 on, as in ``scheduler.alphas_cumprod``; x_0 is what noise is added to.
"""

import itertools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from fimetric.models.family import Model
from fimetric.models.unet import unet
from fimetric.noise import drawn


@dataclass(frozen=True)
class DDPMConfig:
    """Sizes of the UNet, loss and noise schedule.

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


class DDPM(Model):
    """Base of models that denoise; ``unet`` and ``scheduler`` are those of the library diffusers.

    Arguments:
        config: Sizes, loss and noise schedule, see :class:`DDPMConfig`.
        shape: Shape of one sample.
        noised: Shape (C, H, W) of x_0.

    Raises:
        ValueError: where H or W does not fit the resolutions, there are no channels, or the loss
            is unknown.
    """

    def __init__(
        self, config: DDPMConfig, shape: tuple[int, ...], noised: tuple[int, int, int]
    ) -> None:
        from diffusers import DDPMScheduler  # slow to import

        super().__init__()
        if config.loss not in ("l2", "l1"):
            raise ValueError(f"loss must be 'l2' or 'l1', got {config.loss!r}")
        self.config, self.shape, self.noised = config, shape, noised
        self.unet = unet(noised, config.channels, config.layers, config.groups, config.attention)
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

    def denoising_losses(self, x0: Tensor, generator: Generator | None) -> Tensor:
        """Return the denoising loss (N,), summed over dimensions, each at its own random timestep.

        Timesteps and noise are drawn on the CPU. The loss is the simplified objective of Ho et
        al., eq. 14: a reweighted bound, so not in nats.
        """
        t = torch.randint(self.config.timesteps, (len(x0),), generator=generator).to(x0.device)
        x_t, eps = self._noisy(x0, t, generator)
        error = eps - self.predict(x_t, t)
        error = error.abs() if self.config.loss == "l1" else error.square()
        return error.flatten(1).sum(1)

    def bound(self, x0: Tensor, generator: Generator | None, timesteps: int | None) -> Tensor:
        """Bound -log p(x_0) from above, (N,), in nats.

        The variational bound of Ho et al., eq. 5, with the variance of the reverse steps fixed to
        beta_t: prior term, one term for each timestep, and the last step, see ``_decoder_term``.

        Arguments:
            x0: (N, C, H, W).
            generator: Source of noise, on the CPU; one draw for each term.
            timesteps: How many timesteps stand for all, drawn one from each of as many strata,
                which widen geometrically since early terms vary most; unbiased. None takes all.
        """
        total = self._prior_term(x0) + self._decoder_term(x0, generator)
        edges = strata(self.config.timesteps, timesteps)
        for low, high in itertools.pairwise(edges):
            t = torch.randint(low, high, (len(x0),), generator=generator).to(x0.device)
            total = total + (high - low) * self._step_term(x0, t, generator)
        return total

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
        variance = 0.5 * math.prod(self.noised) * (ratio - 1 - ratio.log())
        error = (eps - self.predict(x_t, t)).square().flatten(1).sum(1)
        return weight * error + variance

    @abstractmethod
    def _decoder_term(self, x0: Tensor, generator: Generator | None) -> Tensor:
        """Return -log p(x_0|x_1) in nats, (N,)."""

    def _last_mean(self, x0: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Return the mean of p(x_0|x_1) at a draw of x_1, and its variance beta_1."""
        t = torch.zeros(len(x0), dtype=torch.long, device=x0.device)
        x_t, _ = self._noisy(x0, t, generator)
        beta = self.scheduler.betas.to(x0)[0]
        return (x_t - beta.sqrt() * self.predict(x_t, t)) / (1 - beta).sqrt(), beta

    def _denoised(
        self, n: int, generator: Generator | None, steps: int, eta: float, limit: float
    ) -> Tensor:
        """Return n draws of x_0, (n, C, H, W), by DDIM in ``steps`` steps.

        Arguments:
            n: their number.
            generator: of the noise, on the CPU.
            steps: of the timesteps, evenly spaced.
            eta: is the share of fresh noise (Song et al., eq. 16): 0 is deterministic DDIM, 1 in
                all timesteps the ancestral sampling of DDPM.
            limit: the largest |x_0| there is.
        """
        x = drawn("normal", (n, *self.noised), generator).to(self.unet.conv_in.weight)
        abar = torch.cat([self._abar(x), x.new_ones(1)])  # its last entry is that of t = -1
        spaced = torch.linspace(self.config.timesteps - 1, 0, steps, dtype=torch.float32)
        path = spaced.round().long().tolist()
        for t, later in zip(path, [*path[1:], -1], strict=True):
            eps = self.predict(x, torch.full((n,), t, device=x.device))
            x0 = ((x - (1 - abar[t]).sqrt() * eps) / abar[t].sqrt()).clamp(-limit, limit)
            eps = (x - abar[t].sqrt() * x0) / (1 - abar[t]).sqrt()
            fresh = (1 - abar[later]) / (1 - abar[t]) * (1 - abar[t] / abar[later])
            x = abar[later].sqrt() * x0 + (1 - abar[later] - eta**2 * fresh).sqrt() * eps
            if eta:
                noise = drawn("normal", (n, *self.noised), generator).to(x)
                x = x + eta * fresh.sqrt() * noise
        return x


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
