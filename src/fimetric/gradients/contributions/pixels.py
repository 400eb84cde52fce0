"""Norms of convolutions by the Gram matrix of their pixels.

With t = dilation k - padding = stride q + r, the patches see the PHASES x[r::stride] of the input,
and within a phase each kernel offset is a mere SHIFT q. So <patch p, patch p'> is the sum over
phases and shifts of <x[p + q], x[p' + q]>: windows of one small matrix.
"""

import math

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import in_chunks, products
from fimetric.gradients.contributions.gram import drowned, trace, trusted
from fimetric.gradients.contributions.windows import Windows, flat


def norms_by_pixels(patches: Windows) -> Tensor:
    """Return the squared norms, (N,), NaN where digits are lost."""
    return in_chunks(patches, _norms, bytes_of_products(patches))


def bytes_of_products(patches: Windows) -> int:
    """Return what the inner products take, of one sample."""
    phases = math.prod(patches.geometry.stride)
    pixels, positions = math.prod(patches.x.shape[3:]), math.prod(patches.g.shape[3:])
    largest = patches.x.shape[1] * max(pixels // phases, positions)
    return 3 * 4 * largest**2


def grams_by_pixels(patches: Windows) -> tuple[Tensor, Tensor]:
    """Return the inner products of all positions, of patches and of gradients, each (N, T, T)."""
    gradients = _gram(patches.g)
    return _patch_gram(patches, _offsets(patches), ()).view_as(gradients), gradients


def _norms(patches: Windows) -> Tensor:
    left, right = grams_by_pixels(patches)
    lost = drowned(trace(left), trace(right))
    products = left.mul_(right)
    return trusted(products.sum((1, 2)), trace(products)).masked_fill_(lost, torch.nan)


def _offsets(patches: Windows) -> list[list[tuple[int, int]]]:
    """Return per axis and kernel offset the residue r and the shift q."""
    return [
        [((d * k - p) % s, (d * k - p) // s) for k in range(size)]
        for size, s, p, d in zip(patches.shape[2:], *patches.geometry, strict=True)
    ]


def _gram(x: Tensor) -> Tensor:
    """Inner products of the pixels of x (N, R, C, *size), (N, R * size, R * size)."""
    pixels = flat(x)
    return products(pixels.transpose(1, 2), pixels)


def _patch_gram(
    patches: Windows, offsets: list[list[tuple[int, int]]], residues: tuple[int, ...]
) -> Tensor:
    """Return the inner products of the patches in some phases, (N, R, *size, R, *size).

    Phases are summed and windows taken axis by axis, the last first: ``size`` is that of a phase
    along the axes whose residues are given, and that of the positions along the others.
    """
    axis = len(residues)
    if axis == len(offsets):
        steps = zip(residues, patches.geometry.stride, strict=True)
        x = patches.x[(slice(None),) * 3 + tuple(slice(r, None, s) for r, s in steps)]
        shape = x.shape[1], *x.shape[3:]
        return _gram(x).view(len(x), *shape, *shape)
    total = None
    for r in sorted({r for r, _ in offsets[axis]}):
        gram = _patch_gram(patches, offsets, (*residues, r))
        shifts = [q for residue, q in offsets[axis] if residue == r]
        dims = axis + 2, axis + 3 + len(offsets)
        total = _add_windows(total, gram, dims, shifts, patches.g.shape[axis + 3])
    assert total is not None  # a kernel has an offset along every axis
    return total


def _add_windows(
    total: Tensor | None, gram: Tensor, dims: tuple[int, int], shifts: list[int], P: int
) -> Tensor:
    """Add gram[p + q, p' + q] for all shifts q, p and p' below P, along two axes."""
    size = gram.shape[dims[0]]
    if total is None:
        if shifts == [0] and size == P:
            return gram
        shape = [P if dim in dims else s for dim, s in enumerate(gram.shape)]
        total = gram.new_zeros(shape)
    for q in shifts:
        start, stop = max(0, -q), min(P, size - q)
        if start < stop:
            target, window = total, gram
            for dim in dims:
                target = target.narrow(dim, start, stop - start)
                window = window.narrow(dim, start + q, stop - start)
            target += window
    return total
