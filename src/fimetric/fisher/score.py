"""Is the gradient a score? Under the model itself a score has mean zero.

    rho = |E g|^2 / E|g|^2,      g = d loss(x) / d theta

For g = -d log p(x) / d theta and x from p, E g = 0 and so rho = 0. Of a bound, or of a denoising
loss at one timestep, rho may be anything up to 1. It decides how the joint gradient of a group of B
samples grows: E|g_1 + ... + g_B|^2 = B E|g|^2 (1 + (B - 1) rho), from B for a score up to B^2.

Information and the Accuracy Attainable in the Estimation of Statistical Parameters (Rao, 1945) has
the score's mean; any textbook of statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from fimetric.fisher.stream import grams, losses
from fimetric.gradients import GradientNorms
from fimetric.metrics import Estimate
from fimetric.objectives.base import Objective
from fimetric.typing import Array


@dataclass(frozen=True)
class ScoreTest:
    """How far the mean gradient is from zero.

    Arguments:
        names: J tensors.
        ratio: (J,) unbiased estimates of rho of each tensor, which may be negative; nan where the
            gradient is zero.
        low, high: (J,) ends of their 95% jackknife intervals over batches.
        whole: rho of the gradient of all parameters together, with its interval.
        growth: B -> E|g_1 + ... + g_B|^2 / (B E|g|^2) over disjoint groups, all parameters: 1 for a
            score, B for gradients that are all alike.
        samples: how many samples these are of.
    """

    names: tuple[str, ...]
    ratio: Array
    low: Array
    high: Array
    whole: Estimate
    growth: dict[int, float]
    samples: int


def score_test(
    objective: Objective,
    data: Any,
    batch_size: int = 60,
    groups: Sequence[int] = (2, 5, 10, 20),
    view: str | None = None,
    progress: bool = True,
) -> ScoreTest:
    """Return how far the mean gradient is from zero, per tensor and in all.

    The inner products of gradients are taken within batches only, so memory does not grow with the
    data; they are unbiased for |E g|^2 where the data are in random order.

    Arguments:
        objective: what is differentiated.
        data: independent samples in random order: of the model for the test proper, of its data
            for what happens to them.
        batch_size: samples whose inner products are taken.
        groups: sizes B of groups for the growth of the joint gradient; at most ``batch_size``.
        view: of the objective, where it has several.
        progress: whether to show progress.

    Raises:
        ValueError: for fewer than two batches of two samples, a group larger than a batch, or a
            loss or gradient that is not finite.
    """
    wrong = [B for B in groups if not 1 <= B <= batch_size]
    if wrong:
        raise ValueError(f"groups must have 1 to batch_size={batch_size} samples, not {wrong}")
    norms = GradientNorms(objective.module)
    read = losses(objective, data, batch_size, view, "is it a score?", progress)
    sums = [_sums(gram, groups) for gram in grams(norms, read) if gram.shape[1] > 1]
    if len(sums) < 2:
        raise ValueError("a score test needs at least two batches of two samples; pass more data")
    per_batch = np.stack([s[0] for s in sums])  # (batches, 2, J + 1): mean products, mean squares
    weights = np.array([s[2] for s in sums], dtype=np.float64)
    value, low, high = _jackknife(per_batch, weights)
    of_groups = np.stack([s[1] for s in sums])
    return ScoreTest(
        names=tuple(norms.names),
        ratio=value[:-1],
        low=low[:-1],
        high=high[:-1],
        whole=Estimate(float(value[-1]), float(low[-1]), float(high[-1])),
        growth=_growth(of_groups, per_batch[:, 1, -1], weights, groups),
        samples=int(weights.sum()),
    )


def _sums(gram: Array, groups: Sequence[int]) -> tuple[Array, Array, int]:
    """Return what one batch says, of its Gram matrices (J, N, N).

    That is: means (2, J + 1) of inner products and of squared norms, all parameters last; for each
    group size the mean squared norm of joint gradients; and N.
    """
    every = np.concatenate([gram, gram.sum(0, keepdims=True)])
    N = every.shape[1]
    squares = np.trace(every, axis1=1, axis2=2)
    products = (every.sum((1, 2)) - squares) / (N * (N - 1))
    joint = []
    for B in groups:
        whole = N // B * B
        blocks = every[-1, :whole, :whole].reshape(N // B, B, N // B, B)
        joint.append(np.einsum("gagb->g", blocks).mean() if N >= B else np.nan)
    return np.stack([products, squares / N]), np.array(joint), N


def _jackknife(per_batch: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return ratios of means (K,) of per_batch (batches, 2, K), and their 95% intervals."""
    n = len(weights)
    total = np.einsum("b,bik->ik", weights, per_batch)
    without = total - weights[:, None, None] * per_batch
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 of a tensor that is not used
        value, each = total[0] / total[1], without[:, 0] / without[:, 1]
    error = np.sqrt((n - 1) / n * ((each - each.mean(0)) ** 2).sum(0))
    reach = student.ppf(0.975, n - 1) * error
    return value, value - reach, value + reach


def _growth(
    joint: Array, squares: Array, weights: Array, groups: Sequence[int]
) -> dict[int, float]:
    """Return B -> mean squared norm of joint gradients over B times that of single ones."""
    single = np.average(squares, weights=weights)
    found = {}
    for k, B in enumerate(groups):
        there = np.isfinite(joint[:, k])
        mean = np.average(joint[there, k], weights=weights[there]) if there.any() else np.nan
        found[B] = float(mean / (B * single)) if single > 0 else float("nan")
    return found
