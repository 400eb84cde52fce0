"""Normalisation layers: y = weight * xhat + bias, xhat the normalised input.

Group and batch normalisation know weights per channel only, so the batch is handed to PyTorch's own
kernels as ONE image with N times as many channels: what they add up is then one sample's gradient.
Layers written out by hand are elementwise products and need no rule of their own; so are RMS norms
where PyTorch writes them out, as it does on a CPU.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Sum, widened
from fimetric.gradients.layout import Axis
from fimetric.gradients.rules.tapped import Tapped, broadcast


def layer_norm(tap: Tapped) -> Contribution | None:
    """``F.layer_norm``: normalised over the last axes, the shape of the weight."""
    if tap.input == 0:
        return None
    node, g = tap.node, tap.gradient
    if tap.input == 2:
        return broadcast(g, tap.layout, tap.shape)
    x, mean, scale = node._saved_input, node._saved_result1, node._saved_result2

    def sizes() -> Contribution | None:
        return broadcast(g.abs() * (x.abs() + mean.abs()) * scale, tap.layout, tap.shape)

    return broadcast((x - mean).mul_(scale).mul_(g), tap.layout, tap.shape, sizes=sizes)


def rms_norm(tap: Tapped) -> Contribution | None:
    """``F.rms_norm``, where it is one operation."""
    if tap.input == 0:
        return None
    x, scale = tap.node._saved_input, tap.node._saved_result1
    scale = scale.reshape(x.shape[: x.dim() - len(tap.shape)] + (1,) * len(tap.shape))
    return broadcast(x * scale * tap.gradient, tap.layout, tap.shape)


def group_norm(tap: Tapped) -> Contribution | None:
    """``F.group_norm``: normalised over groups of channels and all positions."""
    if tap.input == 0 or tap.gradients[0] is None:
        return None
    if not isinstance(tap.layout, Axis) or tap.layout.dim != 0:
        return None
    node, g = tap.node, widened(tap.gradient)
    N, C, groups = node._saved_N, node._saved_C, node._saved_group
    x, mean, scale = node._saved_input, node._saved_result1, node._saved_result2
    if "per image" not in tap.scratch:
        _, weight, bias = torch.ops.aten.native_group_norm_backward(
            _as_one_image(g, N * C),
            _as_one_image(widened(x), N * C),
            widened(mean).reshape(1, N * groups),
            widened(scale).reshape(1, N * groups),
            g.new_ones(N * C),  # for its size: no gradient asked for depends on it
            1,
            N * C,
            node._saved_HxW,
            N * groups,
            [False, True, True],
        )
        tap.scratch["per image"] = None, weight.view(N, C), bias.view(N, C)

    def normalised_sizes() -> Tensor:
        grouped = widened(x).abs().reshape(N, groups, -1)
        sizes = (grouped + mean.abs().reshape(N, groups, 1)) * scale.reshape(N, groups, 1)
        return sizes.reshape(g.shape)

    return _images(tap, g, normalised_sizes)


def batch_norm(tap: Tapped) -> Contribution | None:
    """``F.batch_norm`` with running statistics."""
    node, g = tap.node, widened(tap.gradient)
    if tap.input == 0 or node._saved_training:
        return None
    if not isinstance(tap.layout, Axis) or tap.layout.dim != 0:
        return None
    x, mean, variance = node._saved_input, node._saved_running_mean, node._saved_running_var
    N, C = g.shape[:2]
    if "per image" not in tap.scratch:
        _, weight, bias = torch.ops.aten.native_batch_norm_backward(
            _as_one_image(g, N * C),
            _as_one_image(widened(x), N * C),
            None,
            mean.repeat(N),
            variance.repeat(N),
            None,
            None,
            False,
            _epsilon(node),
            [False, True, True],
        )
        tap.scratch["per image"] = None, weight.view(N, C), bias.view(N, C)

    def normalised_sizes() -> Tensor:
        channels = (C,) + (1,) * (g.dim() - 2)
        scale = torch.rsqrt(variance + _epsilon(node)).view(channels)
        return (widened(x).abs() + mean.abs().view(channels)) * scale

    return _images(tap, g, normalised_sizes)


def _epsilon(node: Any) -> float:
    """Return what is added to a variance: cuDNN's and MIOpen's operations spell its name out."""
    return node._saved_epsilon if hasattr(node, "_saved_epsilon") else node._saved_eps


def _as_one_image(x: Tensor, channels: int) -> Tensor:
    """(N, C, *size) -> (1, N * C, size), contiguous: the kernels look at no strides."""
    return x.reshape(1, channels, -1).contiguous()


def _images(tap: Tapped, g: Tensor, normalised_sizes: Callable[[], Tensor]) -> Sum:
    """Sum the images (rows, C) of each sample."""

    def sizes() -> Contribution | None:
        terms = g.abs() if tap.input == 2 else g.abs() * normalised_sizes()
        return broadcast(terms, tap.layout, tap.shape, (tap.shape[0],) + (1,) * (g.dim() - 2))

    layout = cast(Axis, tap.layout)
    return Sum(layout.split(tap.scratch["per image"][tap.input]), (1,), tap.shape, sizes)
