"""Denoising losses of diffusion models."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.arguments import listed, whole
from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.data.spec import Spec
from fimetric.objectives.base import Losses, Objective, refuse_no_draws

PREDICTIONS = ("epsilon", "sample", "v_prediction")


class Denoising(Objective):
    """Creates the one-step denoising loss of a diffusion model at fixed timesteps.

        l_t(x) = || eps - eps_theta(sqrt(abar_t) x + sqrt(1 - abar_t) eps, t) ||

    squared (L2) or summed absolute (L1) over all dimensions. It stands for the likelihood and is no
    bound of it.

    Arguments:
        unet: (noisy x, timesteps (N,)) -> prediction, as a tensor, a tuple or with ``.sample``.
            Entries of a batch other than the data are passed on by name.
        scheduler: has ``alphas_cumprod``, a tensor, and may have ``config.prediction_type``
            (epsilon, sample or v_prediction); without it the model predicts epsilon.
        timesteps: 0-based indices into ``alphas_cumprod``, each with its own columns.
        draws: noise draws per timestep; their log norms are averaged.
        loss: ``l2`` or ``l1``.
        centred: whether images in [0, 1] are brought to [-1, 1] first.
        seed: of the noise.

    Raises:
        ValueError: where the scheduler is not of discrete diffusion, or of a prediction that is not
            known, and for other arguments out of range.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020, arXiv 2006.11239)
    """

    kind = "denoising loss"

    def __init__(
        self,
        unet: nn.Module,
        scheduler: Any,
        timesteps: Sequence[int] = (0,),
        draws: int = 1,
        loss: str = "l2",
        centred: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(self.forward, unet, seed)
        refuse_no_draws(draws)
        _refuse_other_schedules(scheduler)
        timesteps = listed("timesteps", timesteps, "(0, 50, 300)")
        if loss not in ("l1", "l2"):
            raise ValueError(f"loss must be 'l1' or 'l2', not {loss!r}")
        steps, timesteps = (
            len(scheduler.alphas_cumprod),
            tuple(whole("a timestep", t, -math.inf) for t in timesteps),
        )
        wrong = [t for t in timesteps if not 0 <= t < steps]
        if wrong or not timesteps or len(set(timesteps)) < len(timesteps):
            raise ValueError(
                f"timesteps must be different indices from 0 to {steps - 1}; got {timesteps}"
            )
        self.scheduler, self.timesteps, self.draws = scheduler, timesteps, draws
        self.loss, self.centred = loss, centred
        self.predicts = prediction_of(scheduler)

    @property
    def spec(self) -> Spec | None:
        """Images in [0, 1], where they are centred here."""
        return Spec("floats", low=0.0, high=1.0) if self.centred else None

    def views(self) -> dict[str, Losses]:
        """Return one view per timestep and draw."""
        return {
            f"t={t}/draw={k}": self._view(t, f"t={t}/draw={k}")
            for t in self.timesteps
            for k in range(self.draws)
        }

    def _view(self, t: int, name: str) -> Losses:
        def losses(batch: Input) -> Tensor:
            x = data_of(batch)
            x = 2 * x - 1 if self.centred else x
            eps = self._noise(name, x.shape[1:], x, "normal")
            a = self.scheduler.alphas_cumprod[t].to(x)
            noisy = a.sqrt() * x + (1 - a).sqrt() * eps
            error = self._target(x, eps, a) - self._predict(noisy, t, batch)
            return (error.square() if self.loss == "l2" else error.abs()).flatten(1).sum(1)

        return losses

    def _target(self, x: Tensor, eps: Tensor, a: Tensor) -> Tensor:
        if self.predicts == "sample":
            return x
        return a.sqrt() * eps - (1 - a).sqrt() * x if self.predicts == "v_prediction" else eps

    def _predict(self, noisy: Tensor, t: int, batch: Input) -> Tensor:
        data = data_of(batch)
        others = {}
        if isinstance(batch, dict):
            others = {key: value for key, value in batch.items() if value is not data}
        steps = torch.full((len(noisy),), t, device=noisy.device)
        found = self.module(noisy, steps, **others)
        found = getattr(found, "sample", found)
        found = found[0] if isinstance(found, tuple) else found
        found = found[:, : noisy.shape[1]]  # the rest, if any, is a learned variance
        if found.shape != noisy.shape:
            raise ValueError(
                f"{type(self.module).__name__} predicts {tuple(found.shape)} for data of shape "
                f"{tuple(noisy.shape)}; it must predict one value per dimension"
            )
        return found

    def settings(self) -> dict[str, Any]:
        """Return the timesteps and their noise levels, the draws and the kind of loss."""
        abar = self.scheduler.alphas_cumprod
        return {
            "timesteps": list(self.timesteps),
            "alphas_cumprod": [float(f"{float(abar[t]):.6g}") for t in self.timesteps],
            "prediction_type": self.predicts,
            "draws": self.draws,
            "loss": self.loss,
            "centred": self.centred,
        }


def prediction_of(scheduler: Any) -> str:
    """Return what a scheduler says that its model predicts, one of ``PREDICTIONS``.

    Raises:
        ValueError: where it says something else: a loss of another target would look as good.
    """
    found = _said(scheduler, "prediction_type", "epsilon")
    if not isinstance(found, str) or found not in PREDICTIONS:
        raise ValueError(
            f"prediction_type is {found!r}; it must be one of {', '.join(PREDICTIONS)}. For "
            "another target write the loss as a function and pass it to Objective"
        )
    return found


def _refuse_other_schedules(scheduler: Any) -> None:
    """Refuse noise levels that are not those of discrete diffusion.

    Raises:
        ValueError: for no ``alphas_cumprod`` (T,), or for ``use_flow_sigmas``.
    """
    abar = getattr(scheduler, "alphas_cumprod", None)
    if not isinstance(abar, Tensor) or abar.dim() != 1:
        raise ValueError(
            f"{type(scheduler).__name__} has no alphas_cumprod that is a tensor (T,): pass a "
            "scheduler of discrete diffusion, such as diffusers' DDPMScheduler"
        )
    if _said(scheduler, "use_flow_sigmas", False):
        raise ValueError(
            f"{type(scheduler).__name__} has use_flow_sigmas=True: its model was trained on "
            "(1 - t) x + t eps and not at the noise levels of alphas_cumprod. Write that loss as a "
            "function and pass it to Objective"
        )


def _said(scheduler: Any, name: str, default: Any) -> Any:
    """Return a setting from a scheduler's config, a dictionary or an object, or from itself."""
    config = getattr(scheduler, "config", None)
    if isinstance(config, Mapping):
        return config.get(name, default)
    return getattr(scheduler if config is None else config, name, default)
