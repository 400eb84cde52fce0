"""Regression losses of flow matching, also called rectified flow."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.objectives.noising import Noising, said, steps_of

VELOCITY = "flow_prediction"  # what the libraries' schedulers call eps - x


class FlowMatching(Noising):
    """Creates the regression loss of flow matching at fixed timesteps.

        l_t(x) = | (eps - x) - v_theta((1 - sigma) x + sigma eps, sigma T) |^2,  sigma = (t + 1) / T

    summed over all dimensions: the model predicts the velocity from data to noise on a straight
    line. It stands for the likelihood and is no bound of it. The ``shift`` of a scheduler moves the
    levels that sampling visits; what the model computes at a level is the same, and so is the loss.
    Its ``parts`` are those of ``Denoising``: the loss at ten timesteps, costly.

    Arguments:
        module: (noisy x, timesteps (N,)) -> velocity, as a tensor, a tuple or with ``.sample``. Its
            timesteps are sigma T, 1 to T, as diffusers' schedulers of flow matching tell them.
            Entries of a batch other than the data are passed on by name.
        scheduler: has ``config.num_train_timesteps``, T.
        timesteps: 0-based from the clean end, each with its own columns.
        draws: noise draws per timestep; their log norms are averaged.
        centred: whether images in [0, 1] are brought to [-1, 1] first.
        seed: of the noise.

    Raises:
        ValueError: where the scheduler is of discrete diffusion or of inverted levels, or its model
            predicts no velocity, and for other arguments out of range.

    References:
        Flow Matching for Generative Modeling (Lipman, Chen, Ben-Hamu, Nickel and Le, 2022,
        arXiv 2210.02747)
        Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow (Liu,
        Gong and Liu, 2022, arXiv 2209.03003)
    """

    kind = "flow matching loss"

    def __init__(
        self,
        module: nn.Module,
        scheduler: Any,
        timesteps: Sequence[int] = (0,),
        draws: int = 1,
        centred: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(module, scheduler, timesteps, draws, centred, seed)

    def _refuse_others(self, scheduler: Any) -> None:
        _refuse_other_schedules(scheduler)

    def _length(self) -> int:
        return steps_of(self.scheduler)

    def _levels(self, t: int, like: Tensor) -> tuple[float, float]:
        sigma = (t + 1) / self._length()
        return 1 - sigma, sigma

    def _target(self, x: Tensor, eps: Tensor, t: int) -> Tensor:
        return eps - x

    def _told_time(self, t: int, like: Tensor) -> Tensor:
        return torch.full((len(like),), float(t + 1), device=like.device, dtype=torch.float32)

    def settings(self) -> dict[str, Any]:
        """Return the timesteps and the number that there are, the draws and whether centred."""
        return {**super().settings(), "steps": self._length()}


def _refuse_other_schedules(scheduler: Any) -> None:
    """Refuse noise levels that are not those of flow matching, and models of no velocity.

    Raises:
        ValueError: saying what to do.
    """
    kind, flow = type(scheduler).__name__, said(scheduler, "use_flow_sigmas", False)
    if hasattr(scheduler, "alphas_cumprod") and not flow:
        raise ValueError(
            f"{kind} is of discrete diffusion: its model was not trained on (1 - sigma) x + sigma "
            "eps; take Denoising"
        )
    if said(scheduler, "invert_sigmas", False):
        raise ValueError(
            f"{kind} has invert_sigmas=True: its model is told 1 - sigma. Write that loss as a "
            "function and pass it to Objective"
        )
    predicts = said(scheduler, "prediction_type", VELOCITY)
    if predicts != VELOCITY:
        raise ValueError(
            f"prediction_type is {predicts!r}, and flow matching regresses the velocity eps - x "
            f"({VELOCITY!r}). For another target write the loss as a function and pass it to "
            "Objective"
        )
