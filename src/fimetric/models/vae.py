"""A convolutional variational autoencoder, with a likelihood over the 256 levels of a pixel.

    log p(x) >= E_{z ~ q(z|x)}[log p(x|z)] - KL(q(z|x) || N(0, 1)) = ELBO(x)

Auto-Encoding Variational Bayes (Kingma and Welling, 2014, arXiv:1312.6114). A learned noise scale
is what makes the bound a sensible code length (Rybkin et al., 2021, arXiv:2006.13202).
"""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from fimetric.models.discretised import bounded_log_scale, discretised_logistic, unit_gaussian
from fimetric.models.family import Model
from fimetric.noise import drawn


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of a :class:`VAE`.

    ``channels`` has one entry per stride-2 stage, so height and width have to be multiples of
    ``2 ** len(channels)``. ``likelihood`` is ``"logistic"`` (discretised, learned scale) or
    ``"gaussian"`` (unit scale, that is, half the squared error).
    """

    channels: tuple[int, ...] = (32, 64, 128)
    latent: int = 64
    likelihood: Literal["logistic", "gaussian"] = "logistic"


class VAE(Model):
    """Creates a convolutional VAE with Gaussian latents.

    Arguments:
        config: Sizes and likelihood, see :class:`VAEConfig`.
        shape: Shape (C, H, W) of one sample.

    Raises:
        ValueError: where H or W is no multiple of ``2 ** len(config.channels)``, or the likelihood
        is unknown.
    """

    Config = VAEConfig
    CONFIGS: ClassVar[dict[str, VAEConfig]] = {
        "tiny": VAEConfig(channels=(16, 32), latent=8),
        "small": VAEConfig(channels=(32, 64, 128), latent=48),
        "paper": VAEConfig(channels=(32, 64, 128, 256, 512), latent=64, likelihood="gaussian"),
    }

    def __init__(self, config: VAEConfig, shape: tuple[int, int, int]) -> None:
        """Make the parameters.

        Raises:
            ValueError: for a size that the stages do not divide, no stages, or an unknown
                likelihood.
        """
        super().__init__()
        C, H, W = shape
        stages = len(config.channels)
        if stages < 1 or H % 2**stages or W % 2**stages:
            raise ValueError(
                f"{stages} stride-2 stages need a height and width divisible by "
                f"{2**stages}, got {H}x{W}; "
                "take a configuration with fewer (at least one) channels, or resize the data"
            )
        if config.likelihood not in ("logistic", "gaussian"):
            raise ValueError(
                f"likelihood must be 'logistic' or 'gaussian', got {config.likelihood!r}"
            )
        self.config, self.shape = config, (C, H, W)
        self.inner = (config.channels[-1], H // 2**stages, W // 2**stages)
        self.encoder = nn.Sequential(*_down((C, *config.channels)))
        self.to_latent = nn.Linear(math.prod(self.inner), 2 * config.latent)
        self.from_latent = nn.Linear(config.latent, math.prod(self.inner))
        self.decoder = nn.Sequential(*_up(config.channels[::-1]))
        logistic = config.likelihood == "logistic"
        self.head = nn.Conv2d(config.channels[0], C * (1 + logistic), 3, padding=1)
        if logistic:
            self.log_scale = nn.Parameter(torch.full((C, 1, 1), -2.0))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the noise of one sample."""
        return (self.config.latent,)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of q(z|x), both (N, latent), of x (N, C, H, W)."""
        hidden = self.encoder(2 * x - 1).flatten(1)
        mean, log_std = self.to_latent(hidden).chunk(2, dim=1)
        return mean, 5 * torch.tanh(log_std / 5)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and log scale of p(x|z), both (N, C, H, W), of z (N, latent)."""
        hidden = self.from_latent(z).unflatten(1, self.inner)
        out = self.head(self.decoder(hidden))
        if self.config.likelihood == "gaussian":
            return out + 0.5, torch.zeros_like(out)
        location, log_scale = out.chunk(2, dim=1)
        return location + 0.5, bounded_log_scale(log_scale + self.log_scale)

    def log_likelihood(self, x: Tensor, z: Tensor, discrete: bool = False) -> Tensor:
        """Return log p(x|z) (N,) in nats of x (N, C, H, W) = k/255 and latents z (N, latent).

        With ``discrete`` the "gaussian" likelihood too is one of the 256 levels.
        """
        location, log_scale = self.decode(z)
        if self.config.likelihood == "logistic":
            log_p = discretised_logistic(x, location, log_scale)
        elif discrete:
            log_p = unit_gaussian(x, location)
        else:
            log_p = -0.5 * (x - location) ** 2 - 0.5 * math.log(2 * math.pi)
        return log_p.flatten(1).sum(1)

    def bound(
        self, x: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor, discrete: bool = False
    ) -> Tensor:
        """Return the evidence lower bound (N,) in nats at any Gaussian q(z), not the encoder's.

        Arguments:
            x: Images (N, C, H, W) in [0, 1], k/255.
            mean, log_std: Of q(z), each (N, latent).
            noise: Standard normal draws (N, latent).
            discrete: See :meth:`log_likelihood`.
        """
        log_p = self.log_likelihood(x, mean + log_std.exp() * noise, discrete)
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std
        return log_p - kl.sum(1)

    def elbo(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the evidence lower bound of every sample, in nats.

        Arguments:
            x: Images (N, C, H, W) in [0, 1], k/255.
            noise: Standard normal draws (N, *latent_shape) for the reparameterisation.

        Returns:
            (N,): of log probability over the 256 levels ("logistic") or of log density
            ("gaussian").
        """
        return self.bound(x, *self.encode(x), noise)

    def _noise(self, n: int, generator: Generator | None) -> Tensor:
        noise = drawn("normal", (n, *self.latent_shape), generator)
        return noise.to(self.to_latent.weight)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return minus the ELBO (N,) in nats of x (N, C, H, W), noise drawn on the CPU."""
        return -self.elbo(x, self._noise(len(x), generator))

    def bits_per_dim(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Bound -log2 P(x) / dimensions from above, (N,), for 8-bit x (N, C, H, W) = k/255."""
        noise = self._noise(len(x), generator)
        bound = self.bound(x, *self.encode(x), noise, discrete=True)
        return -bound / (math.prod(self.shape) * math.log(2))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None, pixel_noise: bool = True) -> Tensor:
        """Return n draws (n, C, H, W) in [0, 1].

        With ``pixel_noise`` they are draws of the model, on the grid k/255; without, the location
        of p(x|z), which is what is usually shown.
        """
        location, log_scale = self.decode(self._noise(n, generator))
        if not pixel_noise:
            return location.clamp(0, 1)
        if self.config.likelihood == "logistic":
            unit = torch.logit(drawn("uniform", location.shape, generator), eps=1e-6)
        else:
            unit = drawn("normal", location.shape, generator)
        x = location + log_scale.exp() * unit.to(location)
        return (x.clamp(0, 1) * 255).round() / 255


def _down(channels: tuple[int, ...]) -> list[nn.Module]:
    """Return stride-2 stages; no bias in front of a normalisation, it would be a dead parameter."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(channels):
        layers += [
            nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(b),
            nn.LeakyReLU(0.2),
        ]
    return layers


def _up(channels: tuple[int, ...]) -> list[nn.Module]:
    """Return the mirror of :func:`_down`; the last stage keeps its channels."""
    layers: list[nn.Module] = []
    for a, b in zip(channels, (*channels[1:], channels[-1]), strict=True):
        layers += [
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(b),
            nn.LeakyReLU(0.2),
        ]
    return layers
