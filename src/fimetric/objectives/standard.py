"""The objective that each reference model is scored with."""

from collections.abc import Sequence

from fimetric.models import VAE, Diffusion, Glow, Model
from fimetric.objectives.base import Objective
from fimetric.objectives.denoising import Denoising
from fimetric.objectives.likelihood import NegativeELBO, NegativeLogLikelihood

TIMESTEPS = (0, 50, 300)  # of 1,000; how they were chosen is told in docs/results/selection.md


def several_timesteps(model: Model) -> tuple[int, ...] | None:
    """Return the timesteps that a model is judged at unless others are asked for.

    They are ``TIMESTEPS`` in proportion to a diffusion model's schedule; other models have none.
    """
    if not isinstance(model, Diffusion):
        return None
    length = len(model.scheduler.alphas_cumprod)
    return tuple(dict.fromkeys(t * length // 1000 for t in TIMESTEPS))


def standard_objective(
    model: Model, timesteps: Sequence[int] | None = None, draws: int = 1, seed: int = 0
) -> Objective:
    """Return a reference model's objective.

    Arguments:
        model: of ``fimetric.models``.
        timesteps: of a diffusion model, (0,) if None.
        draws: noise draws of a diffusion model or a variational autoencoder.
        seed: of the noise.

    Raises:
        ValueError: for a setting that does not concern the model.
        TypeError: for another kind of model.
    """
    kind = type(model).__name__
    if isinstance(model, Diffusion):
        times = (0,) if timesteps is None else timesteps
        return Denoising(model.unet, model.scheduler, times, draws, model.config.loss, seed=seed)
    if timesteps is not None:
        raise ValueError(f"timesteps are for diffusion models; this is a {kind}")
    if isinstance(model, VAE):
        return NegativeELBO(model, draws=draws, seed=seed)
    if isinstance(model, Glow):
        if draws != 1:
            raise ValueError(
                f"a {kind} has one likelihood and no noise draws; leave out draws={draws}"
            )
        return NegativeLogLikelihood(model, levels=256, seed=seed)
    raise TypeError(f"{kind} is no reference model; build its objective yourself")
