"""What each position adds to a squared norm: <g_t, G>, where G = sum_s g_s.

Two forms, as of the norm itself. By the matrix: u_t^T G v_t, the output of the layer with G for its
weight, times the output gradient. By Gram matrices: sum_s <u_t, u_s> <v_t, v_s>; samples in which
that loses digits (see ``gram``) are taken by the matrix.
"""

from collections.abc import Iterator, Sequence
from functools import reduce, singledispatch
from operator import add
from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import (
    Contribution,
    in_chunks,
    products,
    replace_where,
    widened,
)
from fimetric.gradients.contributions.blocks import Blocks
from fimetric.gradients.contributions.costs import gram_is_cheaper
from fimetric.gradients.contributions.dense import Sum
from fimetric.gradients.contributions.factors import Factors, Rows
from fimetric.gradients.contributions.gram import TRUSTED, drowned, trace
from fimetric.gradients.contributions.patches import Patches
from fimetric.gradients.contributions.pixels import bytes_of_products, grams_by_pixels
from fimetric.gradients.contributions.total import Total
from fimetric.gradients.contributions.windows import Windows, flat
from fimetric.gradients.layout import Ragged
from fimetric.gradients.plan import Plan


class Positions:
    """Takes contributions as they come, and keeps what each position adds to their squared norms.

    Arguments:
        kind: the number format to keep them in.
    """

    def __init__(self, kind: torch.dtype) -> None:
        self._kind, self._found = kind, dict[int, Tensor]()

    def take(self, j: int, contribution: Contribution) -> None:
        """Take the contribution to parameter ``j``."""
        found = by_position(contribution)
        if found is not None:
            self._found[j] = found.to(self._kind)

    def named(self, names: Sequence[str], plan: Plan) -> Iterator[tuple[str, Tensor | None]]:
        """Yield (name, (N, T)), with None where the plan shows rows without an order."""
        routed = _routed(plan)
        for j, name in enumerate(names):
            yield name, None if j in routed else self._found.get(j)


def _routed(plan: Plan) -> set[int | None]:
    """Return the parameters that meet rows chosen by the data, whose order tells no positions."""
    taps = [tap for at_node in plan.taps.values() for tap in at_node]
    return {tap.leaf for tap in taps if any(isinstance(x, Ragged) for x in tap.layouts)}


def by_position(contribution: Contribution) -> Tensor | None:
    """Return what each position adds to the squared norms, (N, T), in whichever form is cheapest.

    Several uses of a tensor add up position by position. None where they differ in the number of
    positions, or have one.
    """
    uses = _uses(contribution)
    T = uses[0].positions
    if T < 2 or any(use.positions != T for use in uses):
        return None
    match contribution:
        case Blocks():
            each = by_position(contribution.blocks)
            return None if each is None else _summed(each, len(contribution))
        case Rows():
            return _by_rows(contribution)
        case Patches() if contribution.pixels_are_cheaper():
            return in_chunks(contribution, _by_pixels, bytes_of_products(contribution))
    matrices = all(type(use) in (Factors, Rows) for use in uses)
    if matrices and gram_is_cheaper(len(contribution), T * len(uses), *contribution.shape):
        return in_chunks(contribution, _by_gram, 3 * 4 * T**2)
    sides = contribution.shape[:1].numel() + contribution.shape[1:].numel()
    return in_chunks(contribution, _by_matrix, 4 * (contribution.shape.numel() + T * sides))


def _uses(contribution: Contribution) -> list[Any]:
    """Return the uses of a tensor, each a contribution of its own."""
    if isinstance(contribution, Total):
        return [use for part in contribution.parts for use in _uses(part)]
    return contribution.uses() if isinstance(contribution, Factors) else [contribution]


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Return the inner products along the last axis, of complex numbers their real parts."""
    return (x * y.conj()).sum(-1).real


def _by_rows(rows: Rows) -> Tensor:
    summed, place = rows.added()
    return _dot(widened(rows.v), summed.gather(1, place.unsqueeze(2).expand_as(summed)))


def _by_pixels(patches: Patches) -> Tensor:
    left, right = grams_by_pixels(patches)
    found = left * right
    lost = ~(found.sum((1, 2)) >= TRUSTED * trace(found)) | drowned(trace(left), trace(right))
    return replace_where(lost, found.sum(2), patches, _by_matrix)


def _by_gram(whole: Contribution) -> Tensor:
    uses = _uses(whole)
    total = size = left = right = torch.zeros((), device=whole.device)
    for k, a in enumerate(uses):
        u, v = a.left_gram(a), a.right_gram(a)
        left, right = left + trace(u), right + trace(v)
        total, size = total + (u * v).sum(2), size + trace(u * v)
        for b in uses[:k]:
            both = a.left_gram(b) * a.right_gram(b)
            total = total + both.sum(1) + both.sum(2)
    lost = ~(total.sum(1) >= TRUSTED * size) | drowned(left, right)
    return replace_where(lost, total, whole, _by_matrix)


def _by_matrix(whole: Contribution) -> Tensor:
    """Take the products with G over its size, lest they be too small or large for the format."""
    dense = whole.dense().reshape(len(whole), whole.shape.numel())
    size = dense.abs().sum(1, keepdim=True)
    size = torch.where(size > 0, size, 1.0)
    return reduce(add, (_along(use, dense / size) for use in _uses(whole))) * size


@singledispatch
def _along(use: Any, G: Tensor) -> Tensor:
    """Return the inner products of the terms of all positions with G (N, O * I), (N, T)."""
    return _dot(products(use.u, G.view(-1, *use.shape)), widened(use.v))


@_along.register
def _(use: Rows, G: Tensor) -> Tensor:
    v = widened(use.v)
    return _dot(v, G.view(-1, *use.shape).gather(1, use.index.unsqueeze(2).expand_as(v)))


@_along.register
def _(use: Windows, G: Tensor) -> Tensor:
    """Convolve x with G."""
    offsets = G.view(len(G), *use.shape[:2], -1).unbind(3)
    pairs = zip(offsets, use.windows(use.x), strict=True)
    y = reduce(add, (products(weight, flat(x)) for weight, x in pairs))
    return (y * flat(use.g)).sum(1)


@_along.register
def _(use: Sum, G: Tensor) -> Tensor:
    kept = [d for d in range(1, use.terms.dim()) if d not in use.dims]
    terms = widened(use.terms).permute(0, *use.dims, *kept)
    return _dot(terms.reshape(len(G), use.positions, G.shape[1]), G.unsqueeze(1))


@_along.register
def _(use: Blocks, G: Tensor) -> Tensor:
    return _summed(_along(use.blocks, G.view(len(use.blocks), -1)), len(use))


def _summed(each: Tensor, samples: int) -> Tensor:
    """Add up what N * G matrices have at each position, (N * G, T) -> (N, T)."""
    return each.view(samples, -1, each.shape[1]).sum(1)
