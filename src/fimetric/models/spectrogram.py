"""A denoising diffusion model of sounds, by the log-mel spectrogram of each.

A clip becomes a picture of bands and frames, standardised by band, and a UNet predicts the noise in
it; noise, loss, bound and sampling are those of ``ddpm``.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from fimetric.data import Samples
from fimetric.models.ddpm import DDPM, DDPMConfig
from fimetric.models.log_mel import LogMel


@dataclass(frozen=True)
class SpectrogramConfig(DDPMConfig):
    """Sizes of a :class:`Spectrogram`: those of its UNet, and of the spectrogram.

    ``rate`` is that of the clips, told by those that say it; ``bands``, ``hop`` and ``window`` are
    those of :class:`fimetric.models.log_mel.LogMel`.
    """

    rate: int = 8000
    bands: int = 32
    hop: int = 64
    window: int = 256


class Standardised(nn.Module):
    """Creates a front end: clips (N, T) -> log-mel spectrograms less their mean, by the deviation.

    Both, ``mean`` and ``deviation`` (bands, 1), are of each band; 0 and 1 before ``fit``.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        self.log_mel = log_mel
        self.register_buffer("mean", torch.zeros(log_mel.bands, 1, dtype=torch.float32))
        self.register_buffer("deviation", torch.ones(log_mel.bands, 1, dtype=torch.float32))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and deviation over clips x (N, T); a band that is constant keeps its scale."""
        bands = self.log_mel(x).double()
        deviation, mean = torch.std_mean(bands, (0, 1, 3), correction=0)
        self.mean.copy_(mean[:, None])
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 1, bands, frames)."""
        return (self.log_mel(x) - self.mean.to(x)) / self.deviation.to(x)

    def restored(self, z: Tensor) -> Tensor:
        """Return log-mel spectrograms of standardised ones."""
        return z * self.deviation.to(z) + self.mean.to(z)


class Spectrogram(DDPM):
    """Creates a diffusion model of log-mel spectrograms.

    Arguments:
        config: Sizes, loss and noise schedule, see :class:`SpectrogramConfig`.
        shape: Shape (T,) of one clip.

    Raises:
        ImportError: without transformers, which has the mel filters.
        ValueError: where T is no whole number of frames, or bands or frames do not fit the
            resolutions.
    """

    Config = SpectrogramConfig
    CONFIGS: ClassVar[dict[str, SpectrogramConfig]] = {
        "tiny": SpectrogramConfig(channels=(16, 32), groups=4, attention=False),
        "small": SpectrogramConfig(channels=(16, 32, 64), layers=1),
        "paper": SpectrogramConfig(channels=(32, 64, 128, 256), layers=2),
    }
    FIRST: ClassVar[int | None] = None
    LEARNED = frozenset({"rate"})
    config: SpectrogramConfig

    def __init__(self, config: SpectrogramConfig, shape: tuple[int]) -> None:
        log_mel = LogMel(config.rate, config.bands, config.hop, config.window)
        super().__init__(config, shape, (1, config.bands, log_mel.frames(shape[0])))
        self.encoder = Standardised(log_mel)

    @classmethod
    def fitting(
        cls, config: SpectrogramConfig, samples: Samples
    ) -> tuple[SpectrogramConfig, tuple[int, ...]]:
        """Return configuration and shape of a model of such samples, at the rate of clips."""
        rate = getattr(samples, "rate", None)  # which clips in memory do not say
        return config if rate is None else replace(config, rate=rate), samples.shape

    def sizes(self, x: Tensor) -> float:
        """Return the number of values of a spectrogram."""
        return math.prod(self.noised)

    def initialise(self, x: Tensor) -> None:
        """Set mean and deviation of each band from clips x (N, T)."""
        self.encoder.fit(x)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the denoising loss (N,) of the spectrograms of x (N, T), summed over them.

        See :meth:`fimetric.models.ddpm.DDPM.denoising_losses`.
        """
        return self.denoising_losses(self.encoder(x), generator)

    def bits_per_dim(
        self, x: Tensor, generator: Generator | None, timesteps: int | None = 20
    ) -> Tensor:
        """Bound -log2 p(z) / values from above, (N,), for clips x (N, T).

        z is the standardised log-mel spectrogram, of real numbers: p is a density, of z and not of
        the clip, and the bound may be negative. The last step is a Gaussian; generator and
        timesteps are those of :meth:`fimetric.models.ddpm.DDPM.bound`.
        """
        return self.bound(self.encoder(x), generator, timesteps) / (self.sizes(x) * math.log(2))

    def _decoder_term(self, x0: Tensor, generator: Generator | None) -> Tensor:
        """Return -log p(x_0|x_1) in nats, (N,): a Gaussian density."""
        mean, beta = self._last_mean(x0, generator)
        log_p = (x0 - mean).square() / beta + (2 * math.pi * beta).log()
        return 0.5 * log_p.flatten(1).sum(1)

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None, steps: int = 50) -> Tensor:
        """Return n log-mel spectrograms (n, 1, bands, frames), by DDIM in ``steps`` steps.

        They are no clips: a spectrogram knows no phases, and what is drawn need not be that of any
        sound.
        """
        drawn = self._denoised(n, generator, steps, eta=0.0, limit=math.inf)
        return self.encoder.restored(drawn)
