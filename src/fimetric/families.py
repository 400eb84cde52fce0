"""Every family of models, a row each; ``import fimetric`` fills it in.

A new family is a file in ``models/`` and a row here.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from fimetric.arguments import shown
from fimetric.models.diffusion import Diffusion
from fimetric.models.family import (
    BOUND,
    DENOISER,
    FAMILIES,
    LATENT_MAP,
    NATS,
    SCHEDULE,
    Draws,
    Family,
)
from fimetric.models.flow_matching import RectifiedFlow
from fimetric.models.glow import Glow
from fimetric.models.nsf import NSF
from fimetric.models.pixelcnn import PixelCNN
from fimetric.models.spectrogram import Spectrogram
from fimetric.models.transformer import Transformer
from fimetric.models.vae import VAE
from fimetric.models.wavenet import WaveNet
from fimetric.objectives.base import Objective
from fimetric.objectives.denoising import Denoising
from fimetric.objectives.flow_matching import FlowMatching
from fimetric.objectives.language import CausalLM
from fimetric.objectives.likelihood import NegativeELBO, NegativeLogLikelihood
from fimetric.objectives.noising import several

ROUND_TRIP = 1e-2  # of latents, which are standard normal


def register(row: Family) -> None:
    """Make a family known under its name, to all that open, train, score or compare models.

    Raises:
        TypeError: for what is no ``Family``.
        ValueError: where the name is another class's, or the class has another name.
    """
    if not isinstance(row, Family):
        raise TypeError(f"a family is a fimetric.models.Family, not {shown(row)}")
    for other in FAMILIES.values():
        if (other.kind == row.kind) != (other.model is row.model):
            raise ValueError(
                f"{other.model.__name__} is known as {other.kind!r} already; give "
                f"{row.model.__name__} another name than {row.kind!r}, or leave it"
            )
    FAMILIES[row.kind] = row


def _bound(model: VAE, timesteps: Any, draws: int, seed: int) -> Objective:
    return NegativeELBO(model, draws=draws, seed=seed)


def _likelihood(model: Glow, timesteps: Any, draws: int, seed: int) -> Objective:
    return NegativeLogLikelihood(model, levels=256, seed=seed)


def _exact_likelihood(
    model: PixelCNN | WaveNet | NSF, timesteps: Any, draws: int, seed: int
) -> Objective:
    return NegativeLogLikelihood(model, seed=seed)


def _text_likelihood(model: Transformer, timesteps: Any, draws: int, seed: int) -> Objective:
    return CausalLM(model.language_model, model.tokenizer)


def _denoising(model: Diffusion, timesteps: Any, draws: int, seed: int) -> Objective:
    times = (0,) if timesteps is None else timesteps
    return Denoising(model.unet, model.scheduler, times, draws, model.config.loss, seed=seed)


def _velocity(model: RectifiedFlow, timesteps: Any, draws: int, seed: int) -> Objective:
    times = (0,) if timesteps is None else timesteps
    return FlowMatching(model.unet, model.scheduler, times, draws, seed=seed)


def _of_spectrograms(model: Spectrogram, timesteps: Any, draws: int, seed: int) -> Objective:
    times, loss = (0,) if timesteps is None else timesteps, model.config.loss
    made = Denoising(model.unet, model.scheduler, times, draws, loss, centred=False, seed=seed)
    made.encoder = model.encoder
    return made


def _timesteps(model: Diffusion | RectifiedFlow | Spectrogram) -> tuple[int, ...]:
    """Return several timesteps of the model's schedule."""
    return several(model.scheduler)


def _pixel_draws(model: VAE) -> Draws:
    return Draws(model.sample, "8-bit draws, pixel noise included")


def _level_draws(model: WaveNet) -> Draws:
    return Draws(model.sample, "draws of mu-law levels", continuous=True)


def _ancestral_draws(model: Diffusion) -> Draws:
    def ancestral(n: int, generator: Generator) -> Tensor:
        return model.sample(n, generator, model.config.timesteps, eta=1.0)

    return Draws(model.sample, "DDIM, 50 steps", control=ancestral)


def _integrated_draws(model: RectifiedFlow) -> Draws:
    return Draws(model.sample, "8-bit draws, 50 Euler steps")


def _density_draws(model: NSF) -> Draws:
    return Draws(model.sample, "draws of the density", continuous=True)


def _invertible_draws(model: Glow) -> Draws:
    """Draw continuous samples; those that the flow does not bring back to their latents are nan.

    A coupling's inverse has no bound on its scale, so a few latents in a thousand end at 1e5 or
    more, where float32 knows neither the sample nor its density.
    """

    def draw(n: int, generator: Generator) -> Tensor:
        latents = model.draw_latents(n, generator)
        x = model.inverse(latents)
        errors = [
            (a - b).abs().flatten(1).amax(1)
            for a, b in zip(model.transform(x)[0], latents, strict=True)
        ]
        lost = ~(torch.stack(errors).amax(0) < ROUND_TRIP)
        x[lost] = torch.nan
        return x

    return Draws(draw, "continuous draws, not dequantised", continuous=True)


for row in (
    Family(
        "vae",
        VAE,
        _bound,
        frozenset({BOUND, NATS}),
        noise=True,
        draws=_pixel_draws,
    ),
    Family(
        "glow",
        Glow,
        _likelihood,
        frozenset({LATENT_MAP, NATS}),
        recipe={"lr": 3e-3, "optimiser": "adamax", "warmup": 50, "clip": 20.0},
        draws=_invertible_draws,
    ),
    Family(
        "diffusion",
        Diffusion,
        _denoising,
        frozenset({SCHEDULE, DENOISER}),
        noise=True,
        timesteps=_timesteps,
        draws=_ancestral_draws,
    ),
    Family(
        "flow-matching",
        RectifiedFlow,
        _velocity,
        frozenset({SCHEDULE}),
        noise=True,
        timesteps=_timesteps,
        draws=_integrated_draws,
    ),
    Family(
        "pixelcnn",
        PixelCNN,
        _exact_likelihood,
        frozenset({NATS}),
        recipe={"lr": 3e-3, "batch_size": 16},
    ),
    Family(
        "wavenet",
        WaveNet,
        _exact_likelihood,
        frozenset({NATS}),
        recipe={"lr": 3e-3, "batch_size": 8},
        samples="sounds",
        draws=_level_draws,
    ),
    Family(
        "spectrogram",
        Spectrogram,
        _of_spectrograms,
        frozenset({SCHEDULE, DENOISER}),
        noise=True,
        timesteps=_timesteps,
        samples="sounds",
        draws=None,
    ),
    Family(
        "transformer",
        Transformer,
        _text_likelihood,
        frozenset({NATS}),
        recipe={"lr": 3e-3, "batch_size": 16},
        samples="texts",
        draws=None,
    ),
    Family(
        "nsf",
        NSF,
        _exact_likelihood,
        frozenset({LATENT_MAP, NATS}),
        samples="tables",
        draws=_density_draws,
    ),
):
    register(row)
