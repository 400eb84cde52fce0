"""The statistics whose density DoSE estimates: the parts that a likelihood is made of."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.objectives import NegativeELBO, NegativeLogLikelihood
from fimetric.objectives.base import Objective
from fimetric.objectives.densities import (
    drawn_parts,
    importance_weighted,
    log_normal,
    posterior_parts,
)
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import require_bound, require_transform


class DoseStatistics(Statistic):
    r"""Creates the parts of the likelihood of a flow, or of the bound of an autoencoder, in nats.

    Of a flow with latents z = f(x): ``log_p_x`` (of the dequantised x), ``log_p_z`` and
    ``log_det``, the first being the sum of the others.

    Of a variational autoencoder with q = q(z|x) and a standard normal prior: ``cross_entropy``
    H[q, p(z)], ``entropy`` H[q], ``rate`` KL(q || p(z)), ``log_likelihood`` E_q[log p(x|z)] (minus
    the distortion), and ``iwae``,

    .. math:: \log \tfrac1K \sum_k p(x|z_k) p(z_k) / q(z_k|x) ,

    the latter two over K fixed draws. A density of them is DoSE's score: ``kde`` or
    ``one-class-svm``.

    Arguments:
        objective: a ``NegativeLogLikelihood`` of a module with ``transform(x) -> (latents, log
            det)``, or a ``NegativeELBO`` of one with ``encode(x) -> (mean, log_std)`` and
            ``log_likelihood(x, z) -> (N,)``.
        draws: K, of an autoencoder.

    Raises:
        TypeError: for other objectives or modules. The losses of a diffusion model at several
            timesteps are such statistics themselves.

    References:
        Density of States Estimation for Out-of-Distribution Detection (Morningstar, Ham, Gallagher,
        Lakshminarayanan, Alemi and Dillon, 2021, arXiv 2006.09273)
    """

    name = "dose"

    def __init__(self, objective: Objective, draws: int = 16) -> None:
        super().__init__(objective)
        if draws < 1:
            raise ValueError(f"draws must be at least 1, not {draws}")
        self.draws = draws
        self._parts = self._found(objective)

    def _found(self, objective: Objective) -> Callable[[Input], dict[str, Tensor]]:
        """Return what measures this kind of model.

        Raises:
            TypeError: for neither a flow nor a variational autoencoder.
        """
        if isinstance(objective, NegativeLogLikelihood):
            require_transform(objective, "DoseStatistics")
            return self._flow
        if isinstance(objective, NegativeELBO):
            require_bound(objective, "DoseStatistics", "encode", "log_likelihood")
            return self._autoencoder
        raise TypeError(
            f"{type(objective).__name__} has no parts to measure: DoseStatistics takes a flow or a "
            "variational autoencoder. Of a diffusion model use the losses at several timesteps"
        )

    @property
    def names(self) -> list[str]:
        """Names of the parts."""
        if isinstance(self.objective, NegativeELBO):
            return ["cross_entropy", "entropy", "rate", "log_likelihood", "iwae"]
        return ["log_p_x", "log_p_z", "log_det"]

    def settings(self) -> dict[str, Any]:
        """Return the draws, where they play a part."""
        return {"draws": self.draws} if isinstance(self.objective, NegativeELBO) else {}

    def measure(self, x: Input) -> Tensor:
        """Return the parts (N, K) of x (N, ...), in nats."""
        parts = self._parts(self.objective.prepared(x))
        return torch.stack([parts[name] for name in self.names], 1)

    def _flow(self, batch: Input) -> dict[str, Tensor]:
        objective: Any = self.objective
        latents, log_det = objective.latents(batch)
        log_p_z = torch.stack([log_normal(z) for z in latents]).sum(0)
        return {"log_p_x": log_p_z + log_det, "log_p_z": log_p_z, "log_det": log_det}

    def _autoencoder(self, batch: Input) -> dict[str, Tensor]:
        objective, x = self.objective, data_of(batch)
        mean, log_std = objective.module.encode(x)  # type: ignore[operator]
        parts = posterior_parts(mean, log_std)
        likelihoods, weights = drawn_parts(objective, x, mean, log_std, self.draws)
        return {
            "cross_entropy": parts["cross-entropy"],
            "entropy": parts["entropy"],
            "rate": parts["rate"],
            "log_likelihood": likelihoods.mean(0),
            "iwae": importance_weighted(weights),
        }
