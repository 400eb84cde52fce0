"""By how much a variational autoencoder would rather have had another posterior for a sample."""

from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.objectives import NegativeELBO
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import require_bound


class LikelihoodRegret(Statistic):
    r"""Creates the likelihood regret: the best bound of a sample's own less the encoder's.

    .. math:: R(x) = \max_{\mu, \sigma} L(x; \mu, \sigma) - L(x; \mu(x), \sigma(x)) \ge 0

    L is the evidence lower bound, mean over the objective's noise draws, which stay fixed. Adam
    starts at the encoder's mean and log standard deviation, and the best of all iterates counts.
    A batch is optimised at once; each sample's way is its own. It costs ``steps`` passes of the
    decoder, forth and back, for each draw.

    Arguments:
        objective: its module has ``encode(x) -> (mean, log_std)`` and
            ``bound(x, mean, log_std, noise) -> (N,)``.
        steps: of Adam.
        lr: Adam's step size, in units of the latents.

    Raises:
        TypeError: for another objective, or a module without these two.
        ValueError: where ``steps`` or ``lr`` is not positive.

    References:
        Likelihood Regret: An Out-of-Distribution Detection Score For Variational Auto-encoder
        (Xiao, Yan and Amit, 2020, arXiv 2003.02977); there the encoder's weights are optimised, or,
        as here, the posterior's parameters themselves.
    """

    name = "likelihood-regret"
    objective: NegativeELBO

    def __init__(self, objective: NegativeELBO, steps: int = 100, lr: float = 0.05) -> None:
        super().__init__(objective)
        require_bound(objective, "LikelihoodRegret", "encode", "bound")
        if steps < 1 or not lr > 0:
            raise ValueError(f"steps and lr must be positive, not {steps} and {lr}")
        self.steps, self.lr = steps, lr

    @property
    def names(self) -> list[str]:
        """The one column, in nats."""
        return ["regret"]

    def settings(self) -> dict[str, Any]:
        """Return the steps and their size."""
        return {"steps": self.steps, "lr": self.lr}

    @torch.enable_grad()
    def measure(self, x: Input) -> Tensor:
        """Return the regret (N, 1) of x (N, ...), in nats."""
        data = data_of(self.objective.prepared(x))
        with torch.no_grad():
            mean, log_std = self.objective.module.encode(data)  # type: ignore[operator]
        own = [part.clone().requires_grad_() for part in (mean, log_std)]
        adam = torch.optim.Adam(own, lr=self.lr)
        bound = self._bound(data, own)
        first = best = bound.detach()
        for _ in range(self.steps):
            # of the sum, so that each sample's gradient is its own; the model's .grad stays
            for part, gradient in zip(own, torch.autograd.grad(-bound.sum(), own), strict=True):
                part.grad = gradient
            adam.step()
            bound = self._bound(data, own)
            best = torch.fmax(best, bound.detach())
        return (best - first)[:, None]

    def _bound(self, x: Tensor, posterior: list[Tensor]) -> Tensor:
        """Return the bound (N,), mean over the draws."""
        noises = [self.objective.noise(view, x) for view in self.objective.views()]
        bound: Any = self.objective.module.bound
        return torch.stack([bound(x, *posterior, noise) for noise in noises]).mean(0)
