"""What the statistics of a diffusion model share: eps_theta of a batch, timesteps, noise levels.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps
    score(x_t) = - eps_theta(x_t, t) / sqrt(1 - abar_t)

Timesteps are 0-based indices into ``scheduler.alphas_cumprod``, as in ``Denoising``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.objectives import Denoising
from fimetric.objectives.noising import in_proportion
from fimetric.objectives.steadiness import refuse_training_mode
from fimetric.statistics.base import Statistic


class DiffusionStatistic(Statistic):
    """Creates a statistic that asks a diffusion model at fixed timesteps.

    Arguments:
        objective: holds UNet, scheduler, seed, and whether data are centred.
        timesteps: different 0-based indices into ``alphas_cumprod``.

    Raises:
        TypeError: for another kind of objective.
        ValueError: for timesteps that are none, repeated, outside the schedule, or without noise.
    """

    objective: Denoising

    def __init__(self, objective: Denoising, timesteps: Iterable[int]) -> None:
        length = len(noise_levels(objective))
        super().__init__(objective)
        self.timesteps = tuple(int(t) for t in timesteps)
        wrong = [t for t in self.timesteps if not 0 <= t < length]
        if wrong or not self.timesteps or len(set(self.timesteps)) < len(self.timesteps):
            raise ValueError(
                f"timesteps of {type(self).__name__} must be different indices from 0 to "
                f"{length - 1}; got {self.timesteps}"
            )
        refuse_no_noise(objective, self.timesteps)

    def settings(self) -> dict[str, Any]:
        """Return the timesteps and their noise levels."""
        abar = self.objective.scheduler.alphas_cumprod
        return {
            "timesteps": list(self.timesteps),
            "alphas_cumprod": [float(f"{float(abar[t]):.6g}") for t in self.timesteps],
        }


class Denoiser:
    """A diffusion model with one batch: the data as it sees them, and its predicted noise.

    Arguments:
        objective: holds the model and how data are brought to it.
        batch: data in the objective's form, (N, ...).

    Raises:
        RuntimeError: where a layer of the model in training mode would add noise or mix samples.
    """

    def __init__(self, objective: Denoising, batch: Input) -> None:
        refuse_training_mode(objective.module)
        self.objective = objective
        self.batch = objective._cast(batch)
        self.x = objective.clean(data_of(self.batch))  # (N, ...)

    def abar(self, t: int) -> Tensor:
        """Return the share of signal at timestep t, a scalar."""
        return self.objective.scheduler.alphas_cumprod[t].to(self.x)

    def noise(self, name: str, kind: str = "normal") -> Tensor:
        """Return the fixed noise of that name, (N, ...), see ``fimetric.noise``."""
        return self.objective._noise(name, self.x.shape[1:], self.x, kind)

    def noisy(self, t: int) -> Tensor:
        """Return x_t (N, ...), at the first draw of noise of the objective's view at t."""
        a = self.abar(t)
        return a.sqrt() * self.x + (1 - a).sqrt() * self.noise(f"t={t}/draw=0")

    def eps(self, x_t: Tensor, t: int) -> Tensor:
        """Return the predicted noise (N, ...) of x_t (N, ...), whatever the model predicts."""
        a, found = self.abar(t), self.objective._predict(x_t, t, self.batch)
        if self.objective.predicts == "sample":
            return (x_t - a.sqrt() * found) / (1 - a).sqrt()
        if self.objective.predicts == "v_prediction":
            return a.sqrt() * found + (1 - a).sqrt() * x_t
        return found

    def step(self, x_t: Tensor, eps: Tensor, t: int, to: int | None) -> Tensor:
        """Return the deterministic DDIM step from timestep t to another, or to the data (None).

        Denoising Diffusion Implicit Models (Song, Meng, Ermon, 2021, arXiv:2010.02502), eq. 12.
        """
        a = self.abar(t)
        x_0 = (x_t - (1 - a).sqrt() * eps) / a.sqrt()
        if to is None:
            return x_0
        b = self.abar(to)
        return b.sqrt() * x_0 + (1 - b).sqrt() * eps


def noise_levels(objective: Denoising) -> Tensor:
    """Return abar of every timestep, (T,), in float64.

    Raises:
        TypeError: for an objective that is none of a diffusion model.
    """
    if not isinstance(objective, Denoising):
        raise TypeError(
            "this statistic asks a diffusion model for its predicted noise, so it needs "
            f"fm.objectives.Denoising, not {type(objective).__name__}"
        )
    return torch.as_tensor(objective.scheduler.alphas_cumprod).double()


def of_thousand(objective: Denoising, timesteps: Sequence[int]) -> list[int]:
    """Return timesteps of a schedule of 1,000 at the same shares of this one's, without repeats."""
    return list(in_proportion(len(noise_levels(objective)), timesteps))


def refuse_no_noise(objective: Denoising, timesteps: Iterable[int]) -> None:
    """Raise ValueError where a timestep has no noise: predicted noise means nothing there."""
    _refuse_level(objective, timesteps, 1.0, "no noise")


def refuse_no_signal(objective: Denoising, timesteps: Iterable[int]) -> None:
    """Raise ValueError where a timestep has no signal: no DDIM step leads away from there."""
    _refuse_level(objective, timesteps, 0.0, "no signal")


def _refuse_level(objective: Denoising, timesteps: Iterable[int], level: float, what: str) -> None:
    abar = noise_levels(objective)
    for t in timesteps:
        if float(abar[t]) == level:
            raise ValueError(
                f"timestep {t} has {what}: alphas_cumprod is {level:g} there; choose timesteps "
                "that leave it out"
            )
