"""Normalisation layers: y = weight * xhat + bias, xhat the normalised input.

RMS norms, and layers written out by hand, are elementwise products and need no rule of their own.
"""

import torch

from fimetric.gradients.contributions import Contribution, widened
from fimetric.gradients.rules.tapped import Tapped, broadcast


def layer_norm(tap: Tapped) -> Contribution | None:
    """``F.layer_norm``: normalised over the last axes, the shape of the weight."""
    if tap.input == 0:
        return None
    node, g = tap.node, tap.gradient
    if tap.input == 1:
        g = g * (node._saved_input - node._saved_result1) * node._saved_result2
    return broadcast(g, tap.layout, tap.shape)


def group_norm(tap: Tapped) -> Contribution | None:
    """``F.group_norm``: normalised over groups of channels and all positions."""
    if tap.input == 0:
        return None
    node, g = tap.node, tap.gradient
    if tap.input == 1:
        x = widened(node._saved_input)
        grouped = x.reshape(node._saved_N, node._saved_group, -1)
        mean, scale = node._saved_result1.unsqueeze(2), node._saved_result2.unsqueeze(2)
        g = widened(g) * ((grouped - mean) * scale).view(x.shape)
    return broadcast(g, tap.layout, tap.shape, (tap.shape[0],) + (1,) * (g.dim() - 2))


def batch_norm(tap: Tapped) -> Contribution | None:
    """``F.batch_norm`` with running statistics."""
    if tap.input == 0:
        return None
    node, g = tap.node, tap.gradient
    if node._saved_training:
        return None
    channels = (tap.shape[0],) + (1,) * (g.dim() - 2)
    if tap.input == 1:
        mean = node._saved_running_mean.view(channels)
        scale = torch.rsqrt(node._saved_running_var + node._saved_eps).view(channels)
        g = widened(g) * (node._saved_input - mean) * scale
    return broadcast(g, tap.layout, tap.shape, channels)
