"""Squared norm of the score over the curvature of the log density."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives import Denoising
from fimetric.statistics.diffusion import Denoiser, DiffusionStatistic, of_thousand

TIMESTEPS = (1, 300)  # the source's, of 1,000


class SCOPED(DiffusionStatistic):
    r"""Creates the ratio of the score's squared norm to the trace of its Jacobian.

    .. math:: T_t(x) = \frac{\| s(x_t) \|^2}{v^\top \nabla s(x_t) v}, \qquad
        s(x_t) = - \nabla \log p_t(x_t)
        \approx \frac{\epsilon_\theta(x_t, t)}{\sqrt{1 - \bar a_t}}

    Under p_t the norm and the trace have the same expectation, so typical samples have about 1. The
    trace is Hutchinson's estimate with one probe v of independent signs; noise and probe are one
    fixed draw for all samples. v^T J v is exact for that v: the product v^T J comes of one backward
    pass, which every layer has, and is multiplied by v; the source multiplies J v, at the price of
    a forward-mode derivative. It costs one forward and one backward per timestep, and the memory of
    a training step. The sign of the trace stays: the source's correction of it is left out.

    The source fits a kernel density to the ratio of each timestep, and takes the larger of the two
    anomaly scores.

    Arguments:
        objective: holds the model; its own timesteps are not used.
        timesteps: where to ask; by default an early and a middle one, 1 and 300 of 1,000.
        parts: whether norm and trace have columns of their own beside the ratio.

    References:
        SCOPED: Score-Curvature Out-of-distribution Proximity Evaluator for Diffusion (Barkley,
        Culbertson, Fridovich-Keil, 2025; ICLR 2026), arXiv:2510.01456
    """

    name = "scoped"

    def __init__(
        self,
        objective: Denoising,
        timesteps: Sequence[int] | None = None,
        parts: bool = False,
    ) -> None:
        if timesteps is None:
            timesteps = of_thousand(objective, TIMESTEPS)
        super().__init__(objective, timesteps)
        self.parts = parts

    @property
    def names(self) -> list[str]:
        """Names of the columns: the ratio of each timestep, with its parts before it if wanted."""
        columns = ("squared_norm", "trace", "ratio") if self.parts else ("ratio",)
        return [f"t={t}/{column}" for t in self.timesteps for column in columns]

    def measure(self, x: Input) -> Tensor:
        """Return the columns (N, K) of samples x (N, ...); nothing is added to any ``.grad``."""
        model = Denoiser(self.objective, x)
        return torch.cat([self._columns(model, t) for t in self.timesteps], 1)

    def _columns(self, model: Denoiser, t: int) -> Tensor:
        norm, trace = norm_and_trace(model, t)
        ratio = norm / trace
        return torch.stack([norm, trace, ratio] if self.parts else [ratio], 1)

    def settings(self) -> dict[str, Any]:
        """Return the timesteps, their noise levels and whether the parts have columns."""
        return super().settings() | {"parts": self.parts}


def norm_and_trace(model: Denoiser, t: int) -> tuple[Tensor, Tensor]:
    """Return the squared norm of the score and the estimated trace of its Jacobian, (N,) each."""
    signs = model.noise(f"t={t}/probe", "uniform")
    v = torch.where(signs < 0.5, -1.0, 1.0).to(model.x)
    with torch.enable_grad():
        x_t = model.noisy(t).detach().requires_grad_()
        score = model.eps(x_t, t) / (1 - model.abar(t)).sqrt()
        (row,) = torch.autograd.grad((score * v).sum(), x_t)  # v^T J of each sample
    return score.detach().square().flatten(1).sum(1), (row * v).flatten(1).sum(1)
