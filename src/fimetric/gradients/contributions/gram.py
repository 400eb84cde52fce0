"""Squared norms by Gram matrices: |sum_t u_t v_t^T|^2 = sum_st <u_s, u_t> <v_s, v_t>.

With few positions this costs far less than the matrix itself. Where the terms cancel it loses
digits: each product is rounded by about eps times its size, and the errors add up to about eps Q,
Q = sum_t |u_t|^2 |v_t|^2, however small the result. So a result below Q / 16 is not taken: it is
NaN, and those samples are computed from the matrix, which loses only eps sqrt(Q) of the norm.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import SHORT, Contribution, in_chunks

TRUSTED = 1 / 16  # share of Q from which on float32 keeps a relative precision of about 1e-5
TINY = 2e-31  # a square below it has lost bits in float32, or is zero and should not be,
LARGE = 1e7  # which shows where the other factor is as large as that

# Positions at a time: of two blocks' products, one triangle is enough. On a CPU they stay in the
# cache; elsewhere small products leave a device idle, and each is a few launches.
BLOCK, BLOCK_ELSEWHERE = 128, 1024


def norms_by_gram(whole: Contribution, parts: Callable[[Any], Sequence[Any]]) -> Tensor:
    """Return the squared norms of a sum of outer products, (N,), NaN where digits are lost.

    Arguments:
        whole: the sum.
        parts: from some samples of ``whole`` to factors whose terms make it up.
    """
    block = BLOCK if whole.device.type == "cpu" else BLOCK_ELSEWHERE

    def norms(chosen: Contribution) -> Tensor:
        result, size, left, right = _products(_blocks(parts(chosen), block))
        return trusted(result, size).masked_fill_(drowned(left, right), torch.nan)

    short = any(part.v.dtype in SHORT for part in parts(whole))  # and blocks are widened
    widened = 2 * sum(whole.shape) if short else 0
    return in_chunks(whole, norms, 4 * block * (3 * block + widened))


def _blocks(parts: Sequence[Any], block: int) -> list[Any]:
    return [
        part.at(slice(start, start + block)) if part.positions > block else part
        for part in parts
        for start in range(0, part.positions, block)
    ]


def _products(blocks: list[Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum over all pairs of terms and, over the pairs (t, t) alone, the sums of the
    products, of their left and of their right factors.
    """
    totals: list[Tensor] = []
    sizes: list[Tensor] = []
    grams: list[tuple[Tensor, Tensor]] = []
    for k, a in enumerate(blocks):
        totals += [2 * (a.left_gram(b) * a.right_gram(b)).sum((1, 2)) for b in blocks[:k]]
        u, v = a.left_gram(a), a.right_gram(a)
        grams.append((trace(u), trace(v)))
        products = u * v
        totals.append(products.sum((1, 2)))
        sizes.append(trace(products))
    left, right = zip(*grams, strict=True)
    return _added(totals), _added(sizes), _added(left), _added(right)


def _added(terms: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)


def trace(x: Tensor) -> Tensor:
    """Return the traces of N square matrices, (N,)."""
    return x.diagonal(dim1=1, dim2=2).sum(1)


def drowned(left: Tensor, right: Tensor) -> Tensor:
    """Return where a square is so small that bits are missing which the product would show."""
    low, high = torch.minimum(left, right), torch.maximum(left, right)
    return (low < TINY) & ((low > 0) | (high > LARGE))


def trusted(result: Tensor, size: Tensor) -> Tensor:
    """Return squared norms, NaN where they cancelled below what can be trusted."""
    return result.masked_fill(~(result >= TRUSTED * size), torch.nan)
