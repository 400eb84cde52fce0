"""How well a model that takes the noise off a noisy sample gets back to the sample."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives import Denoising
from fimetric.statistics.diffusion import (
    Denoiser,
    DiffusionStatistic,
    of_thousand,
    refuse_no_noise,
    refuse_no_signal,
)

TIMESTEPS = (100, 300, 500, 700, 900)  # of 1,000


class Reconstruction(DiffusionStatistic):
    r"""Creates reconstruction errors from several starting points, one column each.

    .. math:: y_t(x) = \log \frac{1}{D} \| x - \hat x_0(x_t) \|^2

    where x is noised to x_t by one fixed draw and brought back by S steps of deterministic DDIM at
    timesteps equally spaced from t to 0. Centred data lie in [-1, 1], and so then does the
    reconstruction. It costs up to S forwards per starting point.

    The source takes 100 steps of PLMS over the whole schedule and every second (or fourth, ...) of
    them as a starting point, standardises the errors by held-out data and averages them. Its second
    error, LPIPS, needs a network trained on photographs and is left out.

    Arguments:
        objective: holds the model; its own timesteps are not used.
        timesteps: the starting points; by default five, 100 to 900 of 1,000.
        steps: S, at least 1; repeated timesteps of a short path are taken once.

    Raises:
        ValueError: for no steps, or timesteps without noise or signal.

    References:
        Denoising Diffusion Models for Out-of-Distribution Detection (Graham, Pinaya, Tudosiu,
        Nachev, Ourselin, Cardoso, 2023), arXiv:2211.07740
    """

    name = "reconstruction"

    def __init__(
        self, objective: Denoising, timesteps: Sequence[int] | None = None, steps: int = 5
    ) -> None:
        if timesteps is None:
            timesteps = of_thousand(objective, TIMESTEPS)
        super().__init__(objective, timesteps)
        if steps < 1:
            raise ValueError(f"steps of Reconstruction must be at least 1, not {steps}")
        self.steps = steps
        for t in self.timesteps:
            refuse_no_noise(objective, path(t, steps))
            refuse_no_signal(objective, path(t, steps))

    @property
    def names(self) -> list[str]:
        """Names of the columns, one per starting point."""
        return [f"t={t}/error" for t in self.timesteps]

    def measure(self, x: Input) -> Tensor:
        """Return the log mean squared errors (N, T) of samples x (N, ...)."""
        model = Denoiser(self.objective, x)
        errors = [model.x - self._reconstruct(model, t) for t in self.timesteps]
        return torch.stack([e.square().flatten(1).mean(1).log() for e in errors], 1)

    def _reconstruct(self, model: Denoiser, start: int) -> Tensor:
        x_t, way = model.noisy(start), path(start, self.steps)
        for t, later in zip(way, [*way[1:], None], strict=True):
            x_t = model.step(x_t, model.eps(x_t, t), t, later)
        return x_t.clamp(-1, 1) if self.objective.centred else x_t

    def settings(self) -> dict[str, Any]:
        """Return the starting points, their noise levels and the number of steps."""
        return super().settings() | {"steps": self.steps}


def path(start: int, steps: int) -> list[int]:
    """Return at most ``steps`` different timesteps from the starting point down to 0.

    >>> path(300, 4), path(2, 5), path(300, 1)
    ([300, 200, 100, 0], [2, 1, 0], [300])
    """
    if steps == 1:
        return [start]
    return sorted({round(start * i / (steps - 1)) for i in range(steps)}, reverse=True)
