"""The statistics whose density DoSE estimates: the parts that a likelihood is made of."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.objectives import NegativeELBO, NegativeLogLikelihood
from fimetric.objectives.base import Objective
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import latents_of, require_bound, require_transform

LOG_TWO_PI = math.log(2 * math.pi)


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

    def _found(self, objective: Objective) -> Callable[[Tensor], dict[str, Tensor]]:
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
        parts = self._parts(data_of(self.objective.prepared(x)))
        return torch.stack([parts[name] for name in self.names], 1)

    def _flow(self, x: Tensor) -> dict[str, Tensor]:
        z, log_det = latents_of(self.objective, x)
        log_p_z = torch.stack([log_normal(level) for level in z]).sum(0)
        return {"log_p_x": log_p_z + log_det, "log_p_z": log_p_z, "log_det": log_det}

    def _autoencoder(self, x: Tensor) -> dict[str, Tensor]:
        objective: Any = self.objective
        mean, log_std = objective.module.encode(x)
        likelihoods, weights = [], []
        for k in range(self.draws):
            noise = objective.noise(f"draw={k}", x)
            z = mean + log_std.exp() * noise
            log_q = log_normal(noise) - log_std.flatten(1).sum(1)
            likelihoods.append(objective.module.log_likelihood(x, z))
            weights.append(likelihoods[-1] + log_normal(z) - log_q)
        second_moment = mean.square() + (2 * log_std).exp()
        cross_entropy = 0.5 * (second_moment + LOG_TWO_PI).flatten(1).sum(1)
        entropy = (log_std + 0.5 * (1 + LOG_TWO_PI)).flatten(1).sum(1)
        return {
            "cross_entropy": cross_entropy,
            "entropy": entropy,
            "rate": (0.5 * (second_moment - 1) - log_std).flatten(1).sum(1),
            "log_likelihood": torch.stack(likelihoods).mean(0),
            "iwae": torch.stack(weights).logsumexp(0) - math.log(self.draws),
        }


def log_normal(z: Tensor) -> Tensor:
    """Return the log density (N,) of z (N, ...) under independent standard normals."""
    return -0.5 * (z.square() + LOG_TWO_PI).flatten(1).sum(1)
