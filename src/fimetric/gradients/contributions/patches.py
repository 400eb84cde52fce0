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

from fimetric.gradients.contributions.base import in_chunks, products, squared_norms
from fimetric.gradients.contributions.costs import grouped_is_fast, pixel_gram_is_cheaper
from fimetric.gradients.contributions.pixels import norms_by_pixels
from fimetric.gradients.contributions.windows import Geometry, Windows, flat


class Patches(Windows):
    """The same gradients (N, O, I, *kernel), with their norms in whichever form is cheapest."""

    def quick_norms(self) -> Tensor:
        """Return the squared norms, (N,), in whichever form is cheapest."""
        if self.pixels_are_cheaper():
            return norms_by_pixels(self)
        if grouped_is_fast(self.x, self.shape):
            return in_chunks(self, norms_by_groups, 8 * self.shape.numel())
        O, I, *kernel = self.shape
        R, P, T = self.x.shape[1], self.x.shape[3:].numel(), self.g.shape[3:].numel()
        K = math.prod(kernel)
        return in_chunks(self, norms_unfolded, 4 * R * (K + 1) * min(I * P, O * T))

    def pixels_are_cheaper(self) -> bool:
        """Return whether a Gram matrix over the pixels costs less than the weights themselves."""
        O, I, *kernel = self.shape
        R, size, positions = self.x.shape[1], self.x.shape[3:], self.g.shape[3:]
        stride = self.geometry.stride
        return pixel_gram_is_cheaper(len(self), R, size, positions, kernel, stride, O, I)

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
    return squared_norms(products(flat(patches.g), flat(rows).transpose(1, 2)))
