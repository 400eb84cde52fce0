"""Normalisation layers: y = weight * xhat + bias, xhat the normalised input.

Group and batch normalisation know weights per channel only, so the batch is handed to PyTorch's own
kernels as ONE image with N times as many channels: what they add up is then one sample's gradient.
RMS norms, and layers written out by hand, are elementwise products and need no rule of their own.
"""

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Sum, widened
from fimetric.gradients.layout import Layout
from fimetric.gradients.rules.tapped import Tapped, broadcast


def layer_norm(tap: Tapped) -> Contribution | None:
    """``F.layer_norm``: normalised over the last axes, the shape of the weight."""
    if tap.input == 0:
        return None
    node, g = tap.node, tap.gradient
    if tap.input == 1:
        g = (node._saved_input - node._saved_result1).mul_(node._saved_result2).mul_(g)
    return broadcast(g, tap.layout, tap.shape)


def group_norm(tap: Tapped) -> Contribution | None:
    """``F.group_norm``: normalised over groups of channels and all positions."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    if tap.input == 0 or not isinstance(layout, Layout) or layout.dim != 0:
        return None
    if "per image" not in tap.scratch:
        N, C, groups = node._saved_N, node._saved_C, node._saved_group
        _, weight, bias = torch.ops.aten.native_group_norm_backward(
            g.reshape(1, N * C, -1),
            node._saved_input.reshape(1, N * C, -1),
            node._saved_result1.view(1, N * groups),
            node._saved_result2.view(1, N * groups),
            g.new_ones(N * C),  # for its size: no gradient asked for depends on it
            1,
            N * C,
            node._saved_HxW,
            N * groups,
            [False, True, True],
        )
        tap.scratch["per image"] = None, weight.view(N, C), bias.view(N, C)
    return _images(tap.scratch["per image"][tap.input], layout, tap.shape)


def batch_norm(tap: Tapped) -> Contribution | None:
    """``F.batch_norm`` with running statistics."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    if tap.input == 0 or node._saved_training:
        return None
    if not isinstance(layout, Layout) or layout.dim != 0:
        return None
    if "per image" not in tap.scratch:
        N, C = g.shape[:2]
        _, weight, bias = torch.ops.aten.native_batch_norm_backward(
            g.reshape(1, N * C, -1),
            node._saved_input.reshape(1, N * C, -1),
            None,
            node._saved_running_mean.repeat(N),
            node._saved_running_var.repeat(N),
            None,
            None,
            False,
            node._saved_eps,
            [False, True, True],
        )
        tap.scratch["per image"] = None, weight.view(N, C), bias.view(N, C)
    return _images(tap.scratch["per image"][tap.input], layout, tap.shape)


def _images(gradients: Tensor, layout: Layout, shape: torch.Size) -> Sum:
    """Sum the images (rows, C) of each sample."""
    return Sum(layout.split(widened(gradients)), (1,), shape)
