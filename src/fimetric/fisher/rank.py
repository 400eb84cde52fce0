r"""Effective degrees of freedom of a layer's squared gradient norm, from pairs of gradients.

.. math:: r_j = \frac{(\operatorname{tr} F_j)^2}{\operatorname{tr} F_j^2}, \qquad
          \operatorname{tr} F_j = E |g_j|^2, \quad
          \operatorname{tr} F_j^2 = E \langle g_j, g_j' \rangle^2

over independent samples with gradients g and g'. It is 1 where all gradients lie on a line and the
number of elements where they have no direction. For Gaussian gradients of mean zero |g_j|^2 has
mean tr F_j and variance 2 tr F_j^2, hence r_j = 2 m^2 / v.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from fimetric.extraction.views import mean_of_draws
from fimetric.fisher.stream import grams, losses
from fimetric.gradients import GradientNorms
from fimetric.objectives.base import Objective
from fimetric.typing import Array


def effective_rank(
    objective: Objective, data: Any, batch_size: int = 32, progress: bool = True
) -> Array:
    """Return (tr F)^2 / tr F^2 of every layer, (J,), F the uncentred second moment of gradients.

    Both traces are estimated without bias: that of F^2 from pairs of different samples of one
    batch, the square of that of F from all pairs of different samples. Samples of one batch must be
    independent: shuffle data that come in an order.

    Arguments:
        objective: what is differentiated.
        data: whatever ``fimetric.data.batches`` takes; read once for each view.
        batch_size: samples to a forward pass, at least 2; J * batch_size^2 products are held.
        progress: show a progress bar.

    Returns:
        One number a column of ``fimetric.extract``, in the same order: views side by side, noise
        draws of one view averaged. nan where all gradients are zero or orthogonal to each other.

    Raises:
        ValueError: for fewer than two samples or a batch size of 1, and where a loss or a gradient
            is not finite.
    """
    if batch_size < 2:
        raise ValueError(f"batch_size is {batch_size}; pairs within a batch need 2 at least")
    norms = GradientNorms(objective.module)
    ranks = {}
    for view in objective.views():
        read = losses(objective, data, batch_size, view, "pairs of gradients", progress)
        ranks[view] = _rank(norms, read)
    return np.concatenate(list(mean_of_draws(ranks).values()))


def _rank(norms: GradientNorms, batches: Iterable[Tensor]) -> Array:
    """Return the ranks (J,) from the losses (n,) of one batch after another.

    Raises:
        ValueError: where no batch makes a pair of samples.
    """
    # sums of |g_n|^2 and |g_n|^4 over samples, and of <g_n, g_m>^2 over ordered pairs n != m
    total, squares, products = np.zeros((3, len(norms.names)))
    samples = pairs = 0
    for gram in grams(norms, batches):
        n = gram.shape[1]
        own = gram[:, range(n), range(n)]  # a copy
        total += own.sum(1)
        squares += (own**2).sum(1)
        gram[:, range(n), range(n)] = 0
        products += (gram**2).sum((1, 2))
        samples, pairs = samples + n, pairs + n * (n - 1)
    if pairs == 0:
        raise ValueError(f"{samples} sample makes no pair; pass two, better some hundreds")
    squared_trace = (total**2 - squares) / (samples * (samples - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        rank = squared_trace / (products / pairs)
    return np.where(np.isfinite(rank), rank, np.nan)
