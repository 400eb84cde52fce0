"""Gradients of a convolution's weight, of one to three dimensions, dilated and strided.

At kernel offset k the gradient is the sum over positions p of g[p] x[stride p + t], with
t = dilation k - padding. Three forms of its norm, all without holding the weights of all samples:

pixels: the Gram matrix of the patches is a sum of shifted windows of the Gram matrix of the pixels,
    which takes as many multiplications less as the kernel has offsets (see ``pixels``).
grouped: one convolution with a group per sample, where PyTorch has a fast kernel for it.
unfolded: windows of the narrower side, of x or of g, are written out for one matrix product.
"""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import in_chunks, squared_norms, widened
from fimetric.gradients.contributions.costs import grouped_is_fast, pixel_gram_is_cheaper
from fimetric.gradients.contributions.factors import Factors
from fimetric.gradients.contributions.pixels import Geometry, flat, norms_by_pixels


class Patches(Factors):
    """Gradients (N, O, I, *kernel) in output gradients and patches.

    Arguments:
        x: inputs, (N, R, I, *size), R images to a sample.
        g: output gradients, (N, R, O, *positions).
        shape: of the weight, (O, I, *kernel).
        geometry: stride, padding and dilation per axis.
    """

    def __init__(self, x: Tensor, g: Tensor, shape: torch.Size, geometry: Geometry) -> None:
        self.x, self.g, self.shape, self.geometry = x.detach(), g.detach(), shape, geometry

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.x.device

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, samples: slice | Tensor) -> "Patches":
        return Patches(self.x[samples], self.g[samples], self.shape, self.geometry)

    @property
    def u(self) -> Tensor:
        """Output gradients, (N, T, O)."""
        return flat(self.g).transpose(1, 2)

    @property
    def v(self) -> Tensor:
        """Patches, (N, T, I * kernel)."""
        return flat(torch.stack(list(self.windows(self.x)), 3).flatten(2, 3)).transpose(1, 2)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, O, I, *kernel)."""
        g = flat(self.g)
        offsets = [torch.bmm(g, flat(x).transpose(1, 2)) for x in self.windows(self.x)]
        return torch.stack(offsets, -1).reshape(len(self), *self.shape)

    def scale(self) -> Tensor:
        """Return the sum over positions of |output gradient| |patch|, (N,)."""
        pixels = widened(self.x).square().sum(2, keepdim=True)
        patches = flat(torch.stack(list(self.windows(pixels))).sum(0)).squeeze(1)
        return (patches.sqrt() * flat(self.g).square().sum(1).sqrt()).sum(1)

    def squared_norms(self) -> Tensor:
        """Return the squared norms, (N,), in whichever form is cheapest."""
        O, I, *kernel = self.shape
        R, size, positions = self.x.shape[1], self.x.shape[3:], self.g.shape[3:]
        if pixel_gram_is_cheaper(len(self), R, size, positions, kernel, self.geometry.stride, O, I):
            return norms_by_pixels(self)
        if grouped_is_fast(self.x, self.shape):
            return in_chunks(self, norms_by_groups, 8 * self.shape.numel())
        K, P, T = math.prod(kernel), math.prod(size), math.prod(positions)
        return in_chunks(self, norms_unfolded, 4 * R * (K + 1) * min(I * P, O * T))

    def windows(self, x: Tensor) -> Iterator[Tensor]:
        """Yield, for each kernel offset, a view of what meets the positions, (N, R, C, *T)."""
        stride, padding, dilation = self.geometry
        kernel, positions = self.shape[2:], self.g.shape[3:]
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        needed = [s * (P - 1) + r for s, P, r in zip(stride, positions, reach, strict=True)]
        sizes = zip(padding, needed, x.shape[3:], strict=True)
        x = pad(x, [(p, n - size - p) for p, n, size in sizes])
        for offset in itertools.product(*map(range, kernel)):
            starts = [k * d for k, d in zip(offset, dilation, strict=True)]
            yield _window(x, starts, positions, stride)

    def opposite(self) -> "Patches":
        """Return the same with the two sides exchanged, for stride 1: g slides over x.

        The kernel comes out reversed, which no norm can tell.
        """
        stride, padding, dilation = self.geometry
        sides = zip(padding, dilation, self.shape[2:], strict=True)
        padding = tuple(d * (k - 1) - p for p, d, k in sides)
        shape = torch.Size((self.shape[1], self.shape[0], *self.shape[2:]))
        return Patches(self.g, self.x, shape, Geometry(stride, padding, dilation))


def norms_by_groups(patches: Patches) -> Tensor:
    """Take PyTorch's summed gradient of N groups of channels, one for each sample."""
    O, I, *kernel = patches.shape
    x, g = (side.transpose(0, 1).flatten(1, 2) for side in (patches.x, patches.g))
    N, axes = len(patches), len(kernel)
    weight = x.new_empty(N * O, I, *kernel)  # only its shape is looked at
    stride, padding, dilation = patches.geometry
    _, gradient, _ = torch.ops.aten.convolution_backward(
        g, x, weight, None, stride, padding, dilation, False, [0] * axes, N, [False, True, False]
    )
    return squared_norms(gradient.reshape(N, -1))


def norms_unfolded(patches: Patches) -> Tensor:
    """Write out the windows of the narrower side, for one matrix product."""
    O, I, *_ = patches.shape
    if O < I and all(s == 1 for s in patches.geometry.stride):
        patches = patches.opposite()
    unfolded = list(patches.windows(patches.x))
    rows = unfolded[0] if len(unfolded) == 1 else torch.cat(unfolded, 2)
    return squared_norms(torch.bmm(flat(patches.g), flat(rows).transpose(1, 2)))


def _window(x: Tensor, starts: list[int], positions: torch.Size, stride: tuple[int, ...]) -> Tensor:
    for axis, (start, P, s) in enumerate(zip(starts, positions, stride, strict=True), start=3):
        x = x[(slice(None),) * axis + (slice(start, start + s * (P - 1) + 1, s),)]
    return x


def pad(x: Tensor, margins: list[tuple[int, int]]) -> Tensor:
    """Return ``x`` with zeros before and after each of its last axes; negative widths cut."""
    widths = [width for pair in reversed(margins) for width in pair]
    return torch.nn.functional.pad(x, widths) if any(widths) else x
