"""Likelihoods of explicit densities, and the bound of variational autoencoders."""

import hashlib
import inspect
import logging
import math
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from fimetric.arguments import listed, shown, whole
from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.data.spec import Spec
from fimetric.fingerprint.digest import update
from fimetric.objectives.base import Losses, Objective
from fimetric.objectives.densities import (
    are_latents,
    are_moments,
    by_scale,
    drawn_parts,
    fine,
    flow_parts,
    has_methods,
    importance_weighted,
    posterior_parts,
    takes,
)
from fimetric.objectives.one_pass import Shared
from fimetric.objectives.positions import cost_parts, stacked

logger = logging.getLogger(__name__)
DRAWS = 16  # of the importance-weighted bound
SLACK = 1e-3  # by which a bound may differ from its parts: float32 sums
_ASKED: "WeakSet[nn.Module]" = WeakSet()


class NegativeLogLikelihood(Objective):
    """Creates the exact negative log-likelihood of a flow or another explicit density.

    Its ``parts``, in nats, are what the module shows of it. Of a flow, with ``transform(x) ->
    (latents, log_det)``: ``prior``, -log p(z) under a standard normal, or ``prior/scale=k`` of each
    of several latents, and ``log-determinant``, minus log |det dz/dx|. They add up to the loss of
    continuous data; that with ``levels`` has D log(levels) besides. Of an autoregressive model,
    with ``position_costs(x) -> (N, ...)``: the worst fifth and quantiles of these costs, see
    ``fimetric.objectives.positions``, and the mean ``entropy`` where it has
    ``position_costs_and_entropies``.

    Arguments:
        module: has ``log_prob(x) -> (N,)``, or is called without x to return a distribution that
            has (as zuko's flows are).
        context: what the density is conditioned on: a tensor that is the same for all samples, or
            the name of the entry of each batch that holds it.
        levels: for images k / (levels - 1): dequantise by fixed uniform noise and count the
            probability of the discrete values, so that losses are code lengths; 256 for 8 bits.
        seed: of that noise.

    References:
        A note on the evaluation of generative models (Theis, van den Oord and Bethge, 2016,
        arXiv 1511.01844) has the bound by uniform dequantisation.
    """

    kind = "likelihood"

    def __init__(
        self,
        module: nn.Module,
        context: Tensor | str | None = None,
        levels: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(self.forward, module, seed)
        if levels is not None and whole("levels", levels, -math.inf) < 2:
            raise ValueError(
                f"levels must be at least 2, or None for continuous data, not {levels}"
            )
        if not isinstance(context, Tensor | str | None):
            raise TypeError(
                "context must be a tensor that all samples share, or the name of an entry of each "
                f"batch, not {shown(context)}"
            )
        self.context, self.levels = context, levels

    @property
    def spec(self) -> Spec | None:
        """Images k / (levels - 1) in [0, 1], where they are dequantised here."""
        if self.levels is None:
            return None
        return Spec("floats", low=0.0, high=1.0, levels=self.levels)

    def views(self) -> dict[str, Losses]:
        """Return the one view."""
        return {"": self._negative_log_likelihood}

    def _negative_log_likelihood(self, batch: Input) -> Tensor:
        x = data_of(batch)
        log_prob = self._log_prob(self.dequantised(x), batch)
        return (0 if self.levels is None else x[0].numel() * math.log(self.levels)) - log_prob

    def dequantised(self, x: Tensor) -> Tensor:
        """Return what the density is taken of: x (N, ...) itself or, with levels, x and noise."""
        if self.levels is None:
            return x
        noise = self._noise("dequantisation", x.shape[1:], x, "uniform")
        return (x * (self.levels - 1) + noise) / self.levels

    def _given(self, x: Tensor, batch: Input) -> tuple[Tensor, ...]:
        """Return the context of samples x (N, ...), nothing without one.

        Raises:
            ValueError: where the batch does not have it.
        """
        if isinstance(self.context, str):
            if not isinstance(batch, dict) or self.context not in batch:
                raise ValueError(f"the batch has no entry {self.context!r}, named as the context")
            return (batch[self.context],)
        if self.context is None:
            return ()
        return (self.context.to(x.device).expand(len(x), *self.context.shape),)

    def latents(self, batch: Input) -> tuple[list[Tensor], Tensor]:
        """Return the latents of a prepared batch, (N, ...) of each scale, and log |det| (N,).

        They are what ``module.transform(x)`` gives of what the density is taken of.
        """
        x = self.dequantised(data_of(batch))
        given = self._given(x, batch)
        return by_scale(self.module.transform(x, *given))  # type: ignore[operator]

    def _parts(self, batch: Input, costly: bool) -> dict[str, Tensor]:
        x = self.dequantised(data_of(batch))
        given: tuple[Any, ...] = (x, *self._given(x, batch))
        found: dict[str, Tensor] = {}
        if has_methods(self.module, "transform") and takes(self.module.transform, *given):
            told = self.module.transform(*given)  # type: ignore[operator]
            if are_latents(told, len(x)):  # or it is another method of this name
                found |= flow_parts(*by_scale(told))
        if has_methods(self.module, "position_costs") and takes(self.module.position_costs, *given):
            found |= self._position_parts(*given)
        return found

    def shared(self) -> list[Shared]:
        """Return the methods whose results both the losses and the parts are made of."""
        names = ("transform", "predictions", "position_costs")
        return [(self.module, name) for name in names if has_methods(self.module, name)]

    def _position_parts(self, *given: Any) -> dict[str, Tensor]:
        module, told = self.module, {}
        if has_methods(module, "position_costs_and_entropies"):
            costs, entropies = module.position_costs_and_entropies(*given)  # type: ignore[operator]
            told = {"entropy": entropies.double().flatten(1).mean(1)}
        else:
            costs = module.position_costs(*given)  # type: ignore[operator]
        if not isinstance(costs, Tensor) or costs.dim() < 2 or len(costs) != len(given[0]):
            return {}  # another method of this name
        return {**stacked(map(cost_parts, costs.double().flatten(1))), **told}

    def _log_prob(self, x: Tensor, batch: Input) -> Tensor:
        given = self._given(x, batch)
        log_prob = getattr(self.module, "log_prob", None)
        if log_prob is not None:
            return log_prob(x, *given)
        try:
            inspect.signature(self.module.forward).bind(*given)
        except TypeError:
            raise TypeError(
                f"{type(self.module).__name__} has no log_prob(x), and is not called without x to "
                "return a distribution that has; give it one of these, or take another objective"
            ) from None
        return self.module(*given).log_prob(x)

    def continuous(self) -> "NegativeLogLikelihood":
        """Return the objective of continuous data, such as the model's own samples."""
        return NegativeLogLikelihood(self.module, self.context, None, self.seed)

    def settings(self) -> dict[str, Any]:
        """Return the dequantisation, and the context by name or hash."""
        context = self.context
        if isinstance(context, Tensor):
            digest = hashlib.sha256()
            update(digest, context)
            context = f"sha256:{digest.hexdigest()[:16]}"
        return {"levels": self.levels, "context": context}


class NegativeELBO(Objective):
    """Creates the negative evidence lower bound of a variational autoencoder.

    Its ``parts``, in nats, are there where the module has ``encode(x) -> (mean, log_std)`` of the
    posterior q and ``log_likelihood(x, z) -> (N,)``: ``rate``, KL(q || p), and ``distortion``,
    -log p(x|z) on average over the draws, which add up to the loss; ``entropy``, H[q], and
    ``cross-entropy``, H[q, p]; and, costly, ``iwae``, minus the importance-weighted bound
    log 1/16 sum_k p(x|z_k) p(z_k) / q(z_k|x) of Burda et al.

    Arguments:
        module: has ``elbo(x, noise) -> (N,)`` with noise (N, *latent_shape) standard normal.
        latent_shape: shape of one sample's noise; the module's own ``latent_shape`` if None.
        draws: noise draws, each a view.
        seed: of the noise.

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2014, arXiv 1312.6114)
        Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016, arXiv 1509.00519)
    """

    kind = "likelihood bound"

    def __init__(
        self,
        module: nn.Module,
        latent_shape: Sequence[int] | None = None,
        draws: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(self.forward, module, seed)
        whole("draws", draws)
        shape = getattr(module, "latent_shape", None) if latent_shape is None else latent_shape
        if shape is None:
            raise ValueError(
                f"{type(module).__name__} has no latent_shape: pass NegativeELBO(module, "
                "latent_shape=...), the shape of one sample's latent noise"
            )
        if not callable(getattr(module, "elbo", None)):
            raise TypeError(
                f"{type(module).__name__} has no elbo(x, noise) -> (N,), which NegativeELBO "
                "differentiates; add it, or pass Objective(function, module)"
            )
        sides = listed("latent_shape", shape, "(16,)")
        self.latent_shape = tuple(whole("a side of latent_shape", side) for side in sides)
        self.draws = draws

    def views(self) -> dict[str, Losses]:
        """Return one view per draw."""
        return {f"draw={k}": self._view(f"draw={k}") for k in range(self.draws)}

    def _view(self, name: str) -> Losses:
        def losses(batch: Input) -> Tensor:
            x = data_of(batch)
            return -self.module.elbo(x, self.noise(name, x))  # type: ignore[operator]

        return losses

    def _parts(self, batch: Input, costly: bool) -> dict[str, Tensor]:
        if not has_methods(self.module, "encode", "log_likelihood"):
            return {}
        x = data_of(batch)
        if not takes(self.module.encode, x) or not takes(self.module.log_likelihood, x, x):
            return {}  # other methods of these names
        if not are_moments(told := self.module.encode(x), len(x)):  # type: ignore[operator]
            return {}
        mean, log_std = told
        number = max(self.draws, DRAWS) if costly else self.draws
        likelihoods, weights = drawn_parts(self, x, mean, log_std, number)
        found = posterior_parts(fine(mean), fine(log_std))
        found["distortion"] = -likelihoods[: self.draws].mean(0)
        self._tell_other_sum(batch, found["rate"] + found["distortion"])
        if costly:
            found["iwae"] = -importance_weighted(weights[:DRAWS])
        return found

    def shared(self) -> list[Shared]:
        """Return the methods whose results both the losses and the parts are made of."""
        names = ("elbo", "encode", "log_likelihood")
        return [(self.module, name) for name in names if has_methods(self.module, name)]

    def _tell_other_sum(self, batch: Input, total: Tensor) -> None:
        """Log where rate and distortion are not what the loss is made of; asked once."""
        if self in _ASKED:
            return
        _ASKED.add(self)
        with torch.enable_grad():  # some bounds differentiate
            loss = self(batch).detach()
        coarsest = max(torch.finfo(x.dtype).eps for x in (loss, data_of(batch)))
        slack = max(SLACK, 8 * coarsest) * (1 + total.abs() + loss.abs())
        wrong = ((total - loss).abs() > slack) & loss.isfinite()
        if wrong.any():
            i = int(wrong.nonzero()[0])
            logger.warning(
                "%s: rate and distortion add up to %.6g, and the loss is %.6g. Either its elbo is "
                "made otherwise, of a sampled divergence or a weighted one, or encode(x) does not "
                "return the mean and the logarithm of the deviation (half of that of the variance) "
                "of the posterior, of which these parts are computed",
                type(self.module).__name__,
                float(total[i]),
                float(loss[i]),
            )

    def noise(self, view: str, x: Tensor) -> Tensor:
        """Return the latent noise (N, *latent_shape) of x (N, ...) in a view, ``draw=k``."""
        return self._noise(view, self.latent_shape, x, "normal")

    def settings(self) -> dict[str, Any]:
        """Return the number of draws."""
        return {"draws": self.draws}
