"""Distances between rows, as to the entries of a codebook: all samples in one batched call.

Rows that all samples share are given to PyTorch's kernel once for each of them, so that what the
kernel adds up is one sample's gradient.
"""

from dataclasses import replace

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Dense, widened
from fimetric.gradients.layout import Axis
from fimetric.gradients.rules.tapped import Tapped


def cdist(tap: Tapped) -> Contribution | None:
    """``torch.cdist``: rows (..., P, D) and (..., M, D), distances (..., P, M), of a p-norm."""
    node, p = tap.node, getattr(tap.node, "_saved_p", 2.0)
    g, distance, shared, other = tap.gradient, node._saved_result, node._saved_x2, node._saved_x1
    if tap.input == 0:  # the same with the two sides exchanged
        g, distance, shared, other = g.mT, distance.mT, other, shared
    layout, rows = tap.layout, g.dim() - 2
    if not isinstance(layout, Axis) or layout.dim == rows + tap.input or p < 1:
        return None
    layout = replace(layout, dim=min(layout.dim, rows))
    batch = [1] * (rows + 2 - shared.dim()) + list(shared.shape[:-2])
    if layout.dim < rows and batch[layout.dim] != 1:
        return None
    if layout.dim < rows:
        batch.insert(0, batch.pop(layout.dim))
    other = other.expand(*g.shape[:-2], *other.shape[-2:])
    g, distance, other = (_by_sample(x, layout) for x in (g, distance, other))
    values = _to_shared(g, distance, shared.view(*batch, *shared.shape[-2:]), other, p)
    longest = 1.0 if p >= 2 else tap.shape[-1] ** 0.5  # gradient of one distance
    return Dense(values.reshape(len(g), *tap.shape), longest * g.abs().flatten(1).sum(1))


def _by_sample(x: Tensor, layout: Axis) -> Tensor:
    """Bring the samples to the front, before the batch; a sample's several rows stay in place."""
    found = widened(layout.split(x))
    return found.movedim(1, -2) if layout.dim == x.dim() - 2 else found


def _to_shared(g: Tensor, distance: Tensor, shared: Tensor, other: Tensor, p: float) -> Tensor:
    """Return the gradients (N, *shape) of the shared rows.

    Arguments:
        g: (N, *batch, R, M), of the distances.
        distance: of the same shape.
        shared: rows (*batch, M, D), where batch may have ones.
        other: rows (N, *batch, R, D).
        p: of the norm.
    """
    each = widened(shared).expand(*g.shape[:-2], -1, -1)
    found = torch.ops.aten._cdist_backward(
        _flat(g.mT), _flat(each), _flat(other), p, _flat(distance.mT)
    )
    return found.view(each.shape).sum_to_size(len(g), *shared.shape)


def _flat(x: Tensor) -> Tensor:
    """(..., A, B) -> (batch, A, B), as the kernel wants it."""
    return x.flatten(0, -3).contiguous()
