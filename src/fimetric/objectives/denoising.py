"""Denoising losses of diffusion models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.objectives.noising import Noising, said

PREDICTIONS = ("epsilon", "sample", "v_prediction")


class Denoising(Noising):
    """Creates the one-step denoising loss of a diffusion model at fixed timesteps.

        l_t(x) = || eps - eps_theta(sqrt(abar_t) x + sqrt(1 - abar_t) eps, t) ||

    squared (L2) or summed absolute (L1) over all dimensions. It stands for the likelihood and is no
    bound of it. Its ``parts`` are all costly: ``loss/t=...``, the loss at ten timesteps spread over
    the schedule, on average over the draws.

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
        super().__init__(unet, scheduler, timesteps, draws, centred, seed)
        if loss not in ("l1", "l2"):
            raise ValueError(f"loss must be 'l1' or 'l2', not {loss!r}")
        self.loss, self.predicts = loss, prediction_of(scheduler)

    def _refuse_others(self, scheduler: Any) -> None:
        _refuse_other_schedules(scheduler)

    def _length(self) -> int:
        return len(self.scheduler.alphas_cumprod)

    def _levels(self, t: int, like: Tensor) -> tuple[Tensor, Tensor]:
        a = self.scheduler.alphas_cumprod[t].to(like)
        return a.sqrt(), (1 - a).sqrt()

    def _target(self, x: Tensor, eps: Tensor, t: int) -> Tensor:
        if self.predicts == "sample":
            return x
        signal, noise = self._levels(t, x)
        return signal * eps - noise * x if self.predicts == "v_prediction" else eps

    def _told_time(self, t: int, like: Tensor) -> Tensor:
        return torch.full((len(like),), t, device=like.device)

    def _sum(self, error: Tensor) -> Tensor:
        return (error.square() if self.loss == "l2" else error.abs()).flatten(1).sum(1)

    def settings(self) -> dict[str, Any]:
        """Return the timesteps and their noise levels, the draws and the kind of loss."""
        abar, found = self.scheduler.alphas_cumprod, super().settings()
        return {
            "timesteps": found.pop("timesteps"),
            "alphas_cumprod": [float(f"{float(abar[t]):.6g}") for t in self.timesteps],
            "prediction_type": self.predicts,
            "draws": found.pop("draws"),
            "loss": self.loss,
            **found,
        }


def prediction_of(scheduler: Any) -> str:
    """Return what a scheduler says that its model predicts, one of ``PREDICTIONS``.

    Raises:
        ValueError: where it says something else: a loss of another target would look as good.
    """
    found = said(scheduler, "prediction_type", "epsilon")
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
            "scheduler of discrete diffusion, such as diffusers' DDPMScheduler; of flow matching, "
            "take FlowMatching"
        )
    if said(scheduler, "use_flow_sigmas", False):
        raise ValueError(
            f"{type(scheduler).__name__} has use_flow_sigmas=True: its model was trained on "
            "(1 - t) x + t eps and not at the noise levels of alphas_cumprod; take FlowMatching"
        )
