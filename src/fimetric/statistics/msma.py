"""Norms of the score of the clean sample at several noise levels."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives import Denoising
from fimetric.statistics.diffusion import Denoiser, DiffusionStatistic, noise_levels

LOWEST, HIGHEST = 0.01, 1.0  # the authors' noise levels, for data in [0, 1]


class MSMA(DiffusionStatistic):
    r"""Creates multiscale score norms: how steep the model's density is at x, at each noise level.

    .. math:: y_t(x) = \| \epsilon_\theta(\sqrt{\bar a_t} x, t) \|_2 / \sqrt{1 - \bar a_t}

    The sample is scaled to the level but no noise is added to it, as in the source, whose models
    are trained on x + sigma eps; here sigma_t = sqrt((1 - abar_t) / abar_t). It costs one forward
    per level. The source then fits a Gaussian mixture, or nearest neighbours, to the norms of
    in-distribution data.

    Arguments:
        objective: holds the model; its own timesteps are not used.
        timesteps: where to ask; by default those nearest to ``levels`` values of sigma from 0.01 to
            1 in geometric progression, for data in [0, 1] (twice that where they are centred to
            [-1, 1]). A short schedule has fewer: none is taken twice.
        levels: how many.

    References:
        Multiscale Score Matching for Out-of-Distribution Detection (Mahmood, Oliva, Styner, 2021),
        arXiv:2010.13132
    """

    name = "msma"

    def __init__(
        self, objective: Denoising, timesteps: Sequence[int] | None = None, levels: int = 10
    ) -> None:
        if timesteps is None:
            timesteps = geometric(objective, levels)
        super().__init__(objective, timesteps)

    @property
    def names(self) -> list[str]:
        """Names of the columns, one per noise level."""
        return [f"t={t}/score" for t in self.timesteps]

    def settings(self) -> dict[str, Any]:
        """Return the timesteps and their noise levels, which tell ``levels`` too."""
        return super().settings()  # stands here: ``untold`` takes levels for told by it

    def measure(self, x: Input) -> Tensor:
        """Return the norms of the score (N, T) of samples x (N, ...)."""
        model = Denoiser(self.objective, x)
        return torch.stack([self._norm(model, t) for t in self.timesteps], 1)

    def _norm(self, model: Denoiser, t: int) -> Tensor:
        a = model.abar(t)
        eps = model.eps(a.sqrt() * model.x, t)
        return torch.linalg.vector_norm(eps.flatten(1), dim=1) / (1 - a).sqrt()


def geometric(objective: Denoising, levels: int) -> list[int]:
    """Return the timesteps nearest to the default noise levels, without repeats.

    Raises:
        ValueError: for fewer than one level.
    """
    if levels < 1:
        raise ValueError(f"levels must be at least 1, not {levels}")
    abar = noise_levels(objective)
    sigmas = ((1 - abar) / abar).sqrt()
    scale = 2.0 if objective.centred else 1.0  # [-1, 1] is twice as wide as [0, 1]
    wanted = torch.logspace(math.log10(LOWEST), math.log10(HIGHEST), levels, dtype=torch.float64)
    distance = (sigmas.log()[None] - (scale * wanted).log()[:, None]).abs()  # (levels, T)
    return sorted(set(distance.argmin(1).tolist()))
