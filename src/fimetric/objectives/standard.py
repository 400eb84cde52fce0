"""The objective that each reference model is scored with."""

from collections.abc import Sequence
from typing import Any

from fimetric.models import VAE, Diffusion, Glow, Model
from fimetric.objectives.base import Objective
from fimetric.objectives.denoising import Denoising
from fimetric.objectives.likelihood import NegativeELBO, NegativeLogLikelihood

TIMESTEPS = (0, 50, 300)  # of 1,000; how they were chosen is told in docs/results/selection.md


def several_timesteps(model: Model) -> tuple[int, ...]:
    """Return the timesteps that a model is judged at unless others are asked for.

    They are ``TIMESTEPS`` in proportion to a diffusion model's schedule; other models have none.
    """
    if not isinstance(model, Diffusion):
        return (0,)
    length = len(model.scheduler.alphas_cumprod)
    return tuple(dict.fromkeys(t * length // 1000 for t in TIMESTEPS))


def standard_objective(
    model: Model, timesteps: Sequence[int] = (0,), draws: int = 1, seed: int = 0, **_: Any
) -> Objective:
    """Return a reference model's objective; what does not concern the model is ignored.

    Arguments:
        model: of ``fimetric.models``.
        timesteps: of a diffusion model.
        draws: noise draws of a diffusion model or a variational autoencoder.
        seed: of the noise.
    """
    if isinstance(model, Glow):
        return NegativeLogLikelihood(model, levels=256, seed=seed)
    if isinstance(model, VAE):
        return NegativeELBO(model, draws=draws, seed=seed)
    if isinstance(model, Diffusion):
        return Denoising(
            model.unet, model.scheduler, timesteps, draws, model.config.loss, seed=seed
        )
    raise TypeError(f"{type(model).__name__} is no reference model; build its objective yourself")
