"""Convolutions of one to three dimensions, dilated, strided, grouped or transposed."""

import torch
from torch import Tensor

from fimetric.gradients.contributions import Blocks, Contribution, Geometry, Patches
from fimetric.gradients.layout import Axis
from fimetric.gradients.rules.tapped import Tapped, broadcast


def convolution(tap: Tapped) -> Contribution | None:
    """``torch.nn.functional.conv{1,2,3}d`` and ``conv_transpose{1,2,3}d``.

    A transposed convolution is the same with input and output gradient exchanged.
    """
    node, g, layout = tap.node, tap.gradient, tap.layout
    spatial = g.dim() - 2
    if tap.input == 2:
        return broadcast(g, layout, tap.shape, (tap.shape[0],) + (1,) * spatial)
    if not isinstance(layout, Axis) or layout.dim != 0 or tap.input != 1 or g.is_complex():
        return None
    x, y = (g, node._saved_input) if node._saved_transposed else (node._saved_input, g)
    sides = node._saved_stride, node._saved_padding, node._saved_dilation
    geometry = Geometry(*(tuple(side) for side in sides))
    groups, x, y = node._saved_groups, layout.split(x), layout.split(y)
    if groups == 1:
        return Patches(x, y, tap.shape, geometry)
    shape = tap.shape[0] // groups, *tap.shape[1:]
    x, y = _by_group(x, groups), _by_group(y, groups)
    blocks = Patches(x, y, torch.Size(shape), geometry)
    return Blocks(blocks, layout.samples, tap.shape)


def _by_group(x: Tensor, groups: int) -> Tensor:
    """(N, R, groups * C, *size) -> (N * groups, R, C, *size)."""
    return x.unflatten(2, (groups, -1)).movedim(2, 1).flatten(0, 1)
