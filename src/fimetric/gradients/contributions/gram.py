"""Squared norms by Gram matrices: |sum_t u_t v_t^T|^2 = sum_st <u_s, u_t> <v_s, v_t>.

With few positions this costs far less than the matrix itself. Where the terms cancel it loses
digits: each product is rounded by about eps times its size, and the errors add up to about eps Q,
Q = sum_t |u_t|^2 |v_t|^2, however small the result. So a result below Q / 128 is not taken: those
samples are computed from the matrix, which loses only eps sqrt(Q) of the norm.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import Contribution, in_chunks, squared_norms

TRUSTED = 1 / 128  # share of Q from which on float32 keeps a relative precision of about 1e-4
TINY = 2e-31  # a square below it has lost bits in float32, or is zero and should not be,
LARGE = 1e7  # which shows where the other factor is as large as that
BLOCK = 64  # positions at a time: of two blocks' products, one triangle is enough


def norms_by_gram(whole: Contribution, parts: Callable[[Any], Sequence[Any]]) -> Tensor:
    """Return the squared norms of a sum of outer products, (N,).

    Arguments:
        whole: the sum.
        parts: from some samples of ``whole`` to factors whose terms make it up.
    """

    def norms(chosen: Contribution) -> Tensor:
        result, size, left, right = _products(_blocks(parts(chosen)))
        lost = ~(result >= TRUSTED * size) | drowned(left, right)
        return replace_where(lost, result, chosen)

    return in_chunks(whole, norms, 3 * 4 * BLOCK**2)


def _blocks(parts: Sequence[Any]) -> list[Any]:
    return [
        part.at(slice(start, start + BLOCK)) if part.positions > BLOCK else part
        for part in parts
        for start in range(0, part.positions, BLOCK)
    ]


def _products(blocks: list[Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum over all pairs of terms and, over the pairs (t, t) alone, the sums of the
    products, of their left and of their right factors.
    """
    total = size = left = right = torch.zeros(())
    for k, a in enumerate(blocks):
        for b in blocks[:k]:
            total = total + 2 * (a.left_gram(b) * a.right_gram(b)).sum((1, 2))
        u, v = a.left_gram(a), a.right_gram(a)
        left, right = left + trace(u), right + trace(v)
        products = u * v
        total, size = total + products.sum((1, 2)), size + trace(products)
    return total, size, left, right


def trace(x: Tensor) -> Tensor:
    """Return the traces of N square matrices, (N,)."""
    return x.diagonal(dim1=1, dim2=2).sum(1)


def drowned(left: Tensor, right: Tensor) -> Tensor:
    """Return where a square is so small that bits are missing which the product would show."""
    return ((left < TINY) & ((left > 0) | (right > LARGE))) | (
        (right < TINY) & ((right > 0) | (left > LARGE))
    )


def trusted(result: Tensor, size: Tensor, contribution: Contribution) -> Tensor:
    """Return squared norms, those that cancelled below what can be trusted computed directly."""
    return replace_where(~(result >= TRUSTED * size), result, contribution)


def replace_where(
    lost: Tensor,
    result: Tensor,
    contribution: Contribution,
    directly: Callable[[Any], Tensor] = lambda part: squared_norms(part.dense()),
) -> Tensor:
    """Compute the results of some samples, norms by default, from the matrices themselves."""
    if lost.any():
        chosen = lost.nonzero().squeeze(1)
        found = in_chunks(contribution[chosen], directly, 4 * contribution.shape.numel())
        result[chosen] = found.to(result)
    return result
