"""Convolutions of one to three dimensions, dilated, strided, grouped or transposed.

With x the padded input and g the output gradient, the weight's gradient at kernel offset k is the
product over positions p of g[p] and x[stride p + dilation k]: one matrix product per offset. The
Frobenius norms of the offsets add up, so nothing of the size of N weights needs to be held.
A transposed convolution is the same with the two exchanged.
"""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fimetric.gradients.contributions import (
    Contribution,
    Dense,
    Factors,
    by_chunks,
    gram_is_cheaper,
    squared_norms,
    squared_norms_by_gram,
    widened,
)
from fimetric.gradients.layout import Layout
from fimetric.gradients.rules.tapped import Tapped, broadcast


def convolution(tap: Tapped) -> Contribution | None:
    """``torch.nn.functional.conv{1,2,3}d`` and ``conv_transpose{1,2,3}d``."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    spatial = g.dim() - 2
    if tap.input == 2:
        return broadcast(g, layout, tap.shape, (tap.shape[0],) + (1,) * spatial)
    if not isinstance(layout, Layout) or layout.dim != 0 or tap.input != 1 or g.is_complex():
        return None
    x, y = (g, node._saved_input) if node._saved_transposed else (node._saved_input, g)
    margins = [margin for pad in reversed(node._saved_padding) for margin in (pad, pad)]
    x = torch.nn.functional.pad(x, margins) if any(margins) else x
    patches = Patches(
        layout.split(x), layout.split(y), tap.shape, node._saved_stride, node._saved_dilation
    )
    return patches if node._saved_groups == 1 else patches.grouped(node._saved_groups)


class Patches(Factors):
    """Gradients of a convolution's weight (O, I, *kernel), in output gradients and patches.

    Arguments:
        x: padded inputs, (N, R, I, *size), R images to a sample.
        g: output gradients, (N, R, O, *positions).
    """

    def __init__(
        self, x: Tensor, g: Tensor, shape: torch.Size, stride: tuple, dilation: tuple
    ) -> None:
        self.x, self.g, self.shape = x, g, shape
        self.stride, self.dilation = stride, dilation

    @property
    def u(self) -> Tensor:
        """Output gradients, (N, T, O)."""
        return _positions_last(self.g).transpose(1, 2)

    @property
    def v(self) -> Tensor:
        """Patches, (N, T, I * kernel)."""
        return torch.stack(list(self._shifted()), 2).flatten(1, 2).transpose(1, 2)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, samples: slice) -> "Patches":
        return Patches(self.x[samples], self.g[samples], self.shape, self.stride, self.dilation)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, O, I, *kernel)."""
        g = _positions_last(self.g)
        offsets = [g @ x.transpose(1, 2) for x in self._shifted()]
        return torch.stack(offsets, -1).reshape(len(self), *self.shape)

    def scale(self) -> Tensor:
        """Return the sum over positions of |output gradient| |patch|, (N,)."""
        squares = torch.stack([x.square().sum(1) for x in self._shifted()]).sum(0)
        return (squares.sqrt() * _positions_last(self.g).square().sum(1).sqrt()).sum(1)

    def squared_norms(self) -> Tensor:
        """Return the squared norms, (N,): one product per kernel offset, or Gram matrices."""
        O, I = self.shape[:2]
        T = self.g.shape[1] * math.prod(self.g.shape[3:])
        if gram_is_cheaper(T, O, math.prod(self.shape[1:])):
            return squared_norms_by_gram(self, T)
        return by_chunks(self, _squared_norms, 4 * (O * I + math.prod(self.x.shape[1:])))

    def grouped(self, groups: int) -> Dense:
        """Return the gradients where the channels fall into groups, (N, O, I / groups, *kernel)."""
        g = _positions_last(self.g).unflatten(1, (groups, -1))
        offsets = [g @ x.unflatten(1, (groups, -1)).transpose(2, 3) for x in self._shifted()]
        values = torch.stack(offsets, -1)  # (N, groups, O / groups, I / groups, kernel)
        return Dense(values.flatten(1, 2).reshape(len(self), *self.shape), self.scale())

    def _shifted(self) -> Iterator[Tensor]:
        """Yield, for each kernel offset, the inputs that meet the positions, (N, I, T)."""
        positions = self.g.shape[3:]
        for offset in itertools.product(*(range(k) for k in self.shape[2:])):
            window = self.x
            for axis, k in enumerate(offset, start=3):
                start, step = k * self.dilation[axis - 3], self.stride[axis - 3]
                stop = start + step * (positions[axis - 3] - 1) + 1
                window = window[(slice(None),) * axis + (slice(start, stop, step),)]
            yield _positions_last(window)


def _squared_norms(patches: Patches) -> Tensor:
    g = _positions_last(patches.g)
    total = g.new_zeros(len(g))
    for x in patches._shifted():
        total += squared_norms(g @ x.transpose(1, 2))
    return total


def _positions_last(x: Tensor) -> Tensor:
    """(N, R, C, *size) -> (N, C, R * size)."""
    return widened(x.flatten(3).transpose(1, 2).flatten(2))
