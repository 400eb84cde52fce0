"""Rate of change and curvature of the path from a sample to noise."""

from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives import Denoising
from fimetric.statistics.diffusion import (
    Denoiser,
    DiffusionStatistic,
    noise_levels,
    refuse_no_signal,
)

POWERS = (1, 2, 3)


class DiffPath(DiffusionStatistic):
    r"""Creates DiffPath-6D: power sums of the predicted noise along the DDIM path from x to noise.

    .. math:: \sum_t \langle \epsilon_t \rangle_p, \quad
        \sum_t \langle \partial_t \epsilon_t \rangle_p, \quad p = 1, 2, 3, \qquad
        \langle v \rangle_p = \sum_i v_i^p

    where eps_t = eps_theta(x_t, t), x_t is integrated forward by deterministic DDIM from x_0 = x,
    and the derivative is the difference of neighbours over the time step 1 / S. Odd powers keep
    their sign, so an image and its negative differ. It costs S forwards per sample, one after the
    other. The source fits a Gaussian mixture to the six numbers.

    As in the source the path starts with x at the first of S equally spaced timesteps, 0, T/S, ...;
    predictions are not clipped.

    Arguments:
        objective: holds the model; its own timesteps are not used.
        steps: S, at least 2.

    Raises:
        ValueError: for fewer than 2 steps, or more than the schedule has.

    References:
        Out-of-Distribution Detection with a Single Unconditional Diffusion Model (Heng, Thiery,
        Soh, 2024), arXiv:2405.11881, section 3.5
    """

    name = "diffpath"

    def __init__(self, objective: Denoising, steps: int = 10) -> None:
        length = len(noise_levels(objective))
        if not 2 <= steps <= length:
            raise ValueError(
                f"steps of DiffPath must be from 2, for there to be a derivative, to the "
                f"schedule's {length}; got {steps}"
            )
        super().__init__(objective, [i * length // steps for i in range(steps)])
        refuse_no_signal(objective, self.timesteps)

    @property
    def names(self) -> list[str]:
        """Names of the six columns."""
        return [f"{what}^{p}" for what in ("eps", "d_eps") for p in POWERS]

    def measure(self, x: Input) -> Tensor:
        """Return the six sums (N, 6) of samples x (N, ...), in float64: odd powers cancel."""
        eps = self._path(Denoiser(self.objective, x)).double()  # (N, S, D)
        slopes = eps.diff(dim=1) * len(self.timesteps)
        return torch.stack([v.pow(p).sum((1, 2)) for v in (eps, slopes) for p in POWERS], 1)

    def _path(self, model: Denoiser) -> Tensor:
        """Return the predicted noise along the path, (N, S, D)."""
        x_t, path = model.x, []
        for i, t in enumerate(self.timesteps):
            path.append(model.eps(x_t, t).flatten(1))
            if i + 1 < len(self.timesteps):
                x_t = model.step(x_t, path[-1].view_as(x_t), t, self.timesteps[i + 1])
        return torch.stack(path, 1)

    def settings(self) -> dict[str, Any]:
        """Return the timesteps, their noise levels and the number of steps."""
        return super().settings() | {"steps": len(self.timesteps)}
