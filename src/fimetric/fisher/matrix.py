"""Windows of the Fisher information matrix, F = E_{x ~ p}[g g^T], for some weights.

    F_ab / sqrt(F_aa F_bb)

F proper needs g = d log p(x) / d theta and samples x of the model. For a bound or a denoising loss
the same formula is the second moment of its gradient; ``regression`` has the Fisher matrix that a
denoising model does have. With n samples an entry off the diagonal that is truly zero comes out as
about 1 / sqrt(n): so every number here has its sampling error beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fimetric.fisher.stream import losses
from fimetric.gradients import GradientNorms
from fimetric.objectives.base import Objective
from fimetric.typing import Array


@dataclass(frozen=True)
class Entries:
    """Gradients of n samples with respect to K weights.

    Arguments:
        values: (n, K).
        layer: (K,) index into ``names`` of each weight's tensor.
        names: tensors.
        dead: how many weights were left out, since their gradient is zero for all samples.
    """

    values: Array
    layer: NDArray[np.int64]
    names: tuple[str, ...]
    dead: int = 0

    def second_moment(self) -> Array:
        """Return E[g g^T], (K, K)."""
        return self.values.T @ self.values / len(self.values)

    def covariance(self) -> Array:
        """Return E[(g - E g)(g - E g)^T], (K, K)."""
        centred = self.values - self.values.mean(0)
        return centred.T @ centred / len(centred)


def choose_weights(
    module: torch.nn.Module, per_layer: int, layers: int | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """Return name -> flat indices of random weights of random tensors, in order of the module.

    Arguments:
        module: whose trainable tensors are chosen from.
        per_layer: weights to a tensor, or all where it has fewer.
        layers: how many tensors, of those with at least ``per_layer`` weights; None takes all
            tensors.
        seed: of the choice.

    Raises:
        ValueError: where fewer than ``layers`` tensors have ``per_layer`` weights or more.
    """
    generator = torch.Generator().manual_seed(seed)
    named = [(name, p.numel()) for name, p in module.named_parameters() if p.requires_grad]
    if layers is not None:
        large = [k for k, (_, numel) in enumerate(named) if numel >= per_layer]
        if len(large) < layers:
            raise ValueError(
                f"only {len(large)} tensors have {per_layer} weights or more, not {layers}; "
                "ask for fewer weights or layers"
            )
        picked = torch.randperm(len(large), generator=generator)[:layers]
        named = [named[large[k]] for k in sorted(picked.tolist())]
    return {
        name: torch.randperm(numel, generator=generator)[:per_layer].sort().values
        for name, numel in named
    }


def gradient_entries(
    objective: Objective,
    data: Any,
    weights: Mapping[str, Tensor],
    batch_size: int = 64,
    view: str | None = None,
    progress: bool = True,
) -> Entries:
    """Return the gradients of every sample with respect to some weights.

    Arguments:
        objective: what is differentiated.
        data: samples.
        weights: name of a tensor -> flat indices of its weights, as ``choose_weights`` gives.
        batch_size: samples to a batch.
        view: of the objective, where it has several.
        progress: whether to show progress.

    Raises:
        ValueError: for an unknown tensor or an index out of range; where a gradient is not finite.
    """
    named = dict(objective.module.named_parameters())
    weights = {name: torch.as_tensor(index) for name, index in weights.items()}
    for name, index in weights.items():
        if name not in named or not named[name].requires_grad:
            raise ValueError(f"the model has no trainable tensor {name!r}")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < named[name].numel():
            raise ValueError(f"{name} has {named[name].numel()} weights; an index is outside")
    if not weights:
        raise ValueError("name some weights, as choose_weights does")
    norms = GradientNorms([(name, named[name]) for name in weights])
    rows = []
    for x in losses(objective, data, batch_size, view, "gradients", progress):
        found = [g.dense().flatten(1)[:, weights[name]] for name, g in norms.contributions(x)]
        rows.append(torch.cat([part.double().cpu() for part in found], 1).numpy())
    values = np.concatenate(rows)
    if not np.isfinite(values).all():
        raise ValueError("a gradient is not finite; leave out the samples on which that happens")
    layer = np.repeat(np.arange(len(weights)), [len(index) for index in weights.values()])
    alive = (values != 0).any(0)
    return Entries(values[:, alive], layer[alive], tuple(weights), int((~alive).sum()))


def normalised(F: Array) -> Array:
    """Return F_ab / sqrt(F_aa F_bb) of F (K, K) with a positive diagonal."""
    scale = np.sqrt(np.diag(F))
    return F / np.outer(scale, scale)


@dataclass(frozen=True)
class OffDiagonal:
    """Size of the normalised entries off the diagonal, within a tensor and across tensors.

    ``mean_absolute`` is what was measured; ``noise`` what the same gradients give when every
    entry gets a random sign; ``root_mean_square`` is without the
    sampling error, from products of two halves of the samples, and 0 where that is negative.
    """

    mean_absolute: float
    noise: float
    root_mean_square: float


def off_diagonal(entries: Entries, centred: bool = False, seed: int = 0) -> dict[str, OffDiagonal]:
    """Return the size of the entries off the diagonal, ``within`` and ``across`` tensors.

    Arguments:
        entries: gradients of n >= 4 samples.
        centred: take the covariance instead of the second moment.
        seed: of halves and signs.

    Raises:
        ValueError: for fewer than 4 samples.
    """
    n, K = entries.values.shape
    if n < 4:
        raise ValueError(f"{n} samples are too few to tell entries from their sampling error")
    order = np.random.default_rng(seed).permutation(n)
    values = _values(entries, centred)
    measured, noise = _window(values), _window(random_signs(entries, centred, seed).values)
    product = _window(values[order[: n // 2]]) * _window(values[order[n // 2 :]])
    same = entries.layer[:, None] == entries.layer[None, :]
    different = ~np.eye(K, dtype=bool)
    return {
        where: OffDiagonal(
            float(_mean(np.abs(measured), mask)),
            float(_mean(np.abs(noise), mask)),
            float(np.sqrt(max(_mean(product, mask), 0.0))),
        )
        for where, mask in (("within", same & different), ("across", ~same))
    }


def random_signs(entries: Entries, centred: bool = False, seed: int = 0) -> Entries:
    """Return gradients that are unrelated: every entry with a random sign of its own.

    They keep their sizes, so a sample whose gradient is large is so in all weights, as it is: with
    heavy tails the sampling error is several times that of shuffled entries.
    """
    values = _values(entries, centred)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=values.shape)
    return replace(entries, values=values * signs)


def _values(entries: Entries, centred: bool) -> Array:
    return entries.values - entries.values.mean(0) if centred else entries.values


def _window(values: Array) -> Array:
    """Return the normalised second moment; a weight without gradient in these samples gives 0."""
    scale = np.sqrt((values**2).mean(0))
    unit = np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
    return unit.T @ unit / len(unit)


def _mean(values: Array, mask: NDArray[np.bool_]) -> float:
    return float(values[mask].mean()) if mask.any() else float("nan")
