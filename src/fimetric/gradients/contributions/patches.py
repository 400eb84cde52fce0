"""Gradients of a convolution's weight, of one to three dimensions, dilated and strided.

Three forms of its norm, all without holding the weights of all samples:

pixels: the Gram matrix of the patches is a sum of shifted windows of the Gram matrix of the pixels,
    which takes as many multiplications less as the kernel has offsets (see ``pixels``).
grouped: one convolution with a group per sample, where PyTorch has a fast kernel for it.
unfolded: windows of the narrower side, of x or of g, are written out for one matrix product.
"""

import math

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import (
    budget,
    bytes_of_one,
    in_chunks,
    products,
    squared_norms,
)
from fimetric.gradients.contributions.costs import grouped_is_fast, pixel_gram_is_cheaper
from fimetric.gradients.contributions.pixels import bytes_of_products, norms_by_pixels
from fimetric.gradients.contributions.windows import Geometry, Windows, flat

LARGEST = 1 << 26  # bytes that one sample's Gram matrices over pixels may take: they cannot be cut


class Patches(Windows):
    """The same gradients (N, O, I, *kernel), with their norms in whichever form is cheapest."""

    def quick_norms(self) -> Tensor:
        """Return the squared norms, (N,), in whichever form is cheapest."""
        if self.pixels_are_cheaper():
            return norms_by_pixels(self)
        if grouped_is_fast(self.x, self.shape):
            return in_chunks(self, norms_by_groups, 8 * self.shape.numel())
        return in_chunks(self, norms_unfolded, self.bytes_unfolded())

    def pixels_are_cheaper(self) -> bool:
        """Return whether Gram matrices over pixels can be held and cost less than the weights."""
        O, I, *kernel = self.shape
        R, size, positions = self.x.shape[1], self.x.shape[3:], self.g.shape[3:]
        stride = self.geometry.stride
        small = bytes_of_products(self) <= LARGEST
        return small and pixel_gram_is_cheaper(len(self), R, size, positions, kernel, stride, O, I)

    def bytes_unfolded(self) -> int:
        """Return what one sample's windows of the narrower side take, and that side once more."""
        O, I, *kernel = self.shape
        R, P, T = self.x.shape[1], self.x.shape[3:].numel(), self.g.shape[3:].numel()
        return 4 * R * (math.prod(kernel) + 1) * min(I * P, O * T)

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
    """Write out the windows of the narrower side, for one matrix product.

    Where one sample's are large, or its weights, there are several products, of some kernel offsets
    each.
    """
    largest = max(patches.bytes_unfolded(), bytes_of_one(patches))
    parts = math.ceil(largest / budget(patches.device))
    O, I, *_ = patches.shape
    if O < I and all(s == 1 for s in patches.geometry.stride):
        patches = patches.opposite()
    windows, g = list(patches.windows(patches.x)), flat(patches.g)
    step = math.ceil(len(windows) / parts)
    norms = g.new_zeros(len(g))
    for start in range(0, len(windows), step):
        some = windows[start : start + step]
        rows = some[0] if len(some) == 1 else torch.cat(some, 2)
        norms += squared_norms(products(g, flat(rows).transpose(1, 2)))
    return norms
