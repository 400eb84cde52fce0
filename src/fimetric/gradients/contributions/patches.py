"""Gradients of a convolution's weight, of one to three dimensions, dilated and strided.

At kernel offset k the gradient is the sum over positions p of g[p] x[stride p + dilation k - pad].
With t = dilation k - pad = stride q + r, the input falls into PHASES x[r::stride], and within one
phase every offset is a mere SHIFT q. Two forms of the norm follow:

direct: phases are padded and flattened, and g is embedded into the same size, zero where it has no
    position. A shift of all axes is then one shift of the flat axis, so each offset is one matrix
    product of two views. Squared norms of the offsets add up; N weights are never held.
pixels: the Gram matrix of the patches is a sum of shifted windows of the Gram matrix of the pixels,
    which takes as many multiplications less as the kernel has offsets.
"""

import itertools
import math
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import in_chunks, squared_norms, widened
from fimetric.gradients.contributions.costs import pixel_gram_is_cheaper
from fimetric.gradients.contributions.factors import Factors
from fimetric.gradients.contributions.gram import trusted

NARROW = 16  # with fewer input channels the patches are written out, for larger matrix products


class Patches(Factors):
    """Gradients (N, O, I, *kernel) in output gradients and patches.

    Arguments:
        x: inputs, (N, R, I, *size), R images to a sample.
        g: output gradients, (N, R, O, *positions).
        shape: of the weight, (O, I, *kernel).
        stride, padding, dilation: per axis.
    """

    def __init__(
        self,
        x: Tensor,
        g: Tensor,
        shape: torch.Size,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
    ) -> None:
        self.x, self.g, self.shape = x, g, shape
        self.geometry = stride, padding, dilation

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.x.device

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, samples: slice | Tensor) -> "Patches":
        return Patches(self.x[samples], self.g[samples], self.shape, *self.geometry)

    @property
    def u(self) -> Tensor:
        """Output gradients, (N, T, O)."""
        return self._flat_gradients().transpose(1, 2)

    @property
    def v(self) -> Tensor:
        """Patches, (N, T, I * kernel)."""
        return torch.stack(self._in_order(), 2).flatten(1, 2).transpose(1, 2)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, O, I, *kernel)."""
        g = self._flat_gradients()
        offsets = [torch.bmm(g, x.transpose(1, 2)) for x in self._in_order()]
        return torch.stack(offsets, -1).reshape(len(self), *self.shape)

    def scale(self) -> Tensor:
        """Return the sum over positions of |output gradient| |patch|, (N,)."""
        squares = torch.zeros((), device=self.device)
        for residues, shifts in self._phases():
            pixels = self._flat_phase(residues).square().sum(1, keepdim=True)
            squares = squares + sum(self._window(pixels, shift) for shift in shifts)
        norms = self._flat_gradients().square().sum(1, keepdim=True)
        return (squares.sqrt() * norms.sqrt()).sum((1, 2))

    def squared_norms(self) -> Tensor:
        """Return the squared norms, (N,), in whichever form is cheaper."""
        O, I, *kernel = self.shape
        images, size, positions = self.x.shape[1], self.x.shape[3:], self.g.shape[3:]
        if pixel_gram_is_cheaper(images, size, positions, kernel, self.geometry[0], O, I):
            T = images * max(math.prod(size), math.prod(positions))
            return in_chunks(self, _norms_by_pixels, 3 * 4 * T * T)
        return in_chunks(self, _norms_by_shifts, 4 * O * I)

    @cached_property
    def _axes(self) -> list[list[tuple[int, int]]]:
        """Per axis and kernel offset: residue r and shift q."""
        return [
            [(t % s, t // s) for t in (d * k - p for k in range(size))]
            for size, s, p, d in zip(self.shape[2:], *self.geometry, strict=True)
        ]

    @cached_property
    def _reach(self) -> list[tuple[int, int]]:
        """Per axis: the lowest and the highest shift."""
        return [(min(q for _, q in axis), max(q for _, q in axis)) for axis in self._axes]

    def _phases(self) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
        """Yield the residues of each phase and the shifts that occur in it."""
        for residues in itertools.product(*(sorted({r for r, _ in axis}) for axis in self._axes)):
            shifts = [
                [q for r, q in axis if r == own]
                for axis, own in zip(self._axes, residues, strict=True)
            ]
            yield residues, list(itertools.product(*shifts))

    def _phase(self, residues: tuple[int, ...]) -> Tensor:
        steps = tuple(slice(r, None, s) for r, s in zip(residues, self.geometry[0], strict=True))
        return widened(self.x[(slice(None),) * 3 + steps])

    def _flat_phase(self, residues: tuple[int, ...]) -> Tensor:
        """Return one phase, padded so that every shift stays inside, (N, I, R * size)."""
        x, positions = self._phase(residues), self.g.shape[3:]
        margins = [
            (-low, P + high - size)
            for (low, high), P, size in zip(self._reach, positions, x.shape[3:], strict=True)
        ]
        return _flat(_padded(x, margins))

    def _flat_gradients(self) -> Tensor:
        """Return the output gradients embedded into the size of a phase, (N, O, T)."""
        g = _flat(_padded(widened(self.g), [(0, high - low) for low, high in self._reach]))
        return g[:, :, : g.shape[2] - self._flat_shift([high for _, high in self._reach])]

    def _flat_shift(self, shift: "tuple[int, ...] | list[int]") -> int:
        """Return the shift of the flat axis."""
        flat = 0
        for q, (low, high), P in zip(shift, self._reach, self.g.shape[3:], strict=True):
            flat = flat * (P + high - low) + q - low
        return flat

    def _window(self, phase: Tensor, shift: tuple[int, ...]) -> Tensor:
        """Return the inputs that meet the gradients at one shift, a view (N, I, T)."""
        start = self._flat_shift(shift)
        stop = phase.shape[2] - self._flat_shift([high for _, high in self._reach]) + start
        return phase[:, :, start:stop]

    def _in_order(self) -> list[Tensor]:
        """Return the window of each kernel offset, last axis fastest."""
        windows = {
            (residues, shift): self._window(phase, shift)
            for residues, shifts in self._phases()
            for phase in [self._flat_phase(residues)]
            for shift in shifts
        }
        offsets = (zip(*offset, strict=True) for offset in itertools.product(*self._axes))
        return [windows[residues, shift] for residues, shift in offsets]


def _norms_by_shifts(patches: Patches) -> Tensor:
    g = patches._flat_gradients()
    total = g.new_zeros(len(g))
    for residues, shifts in patches._phases():
        phase = patches._flat_phase(residues)
        windows = [patches._window(phase, shift) for shift in shifts]
        if phase.shape[1] <= NARROW:
            windows = [torch.cat(windows, 1)]
        for x in windows:
            total += squared_norms(torch.bmm(g, x.transpose(1, 2)))
    return total


def _norms_by_pixels(patches: Patches) -> Tensor:
    g = widened(patches.g).transpose(1, 2).flatten(2)
    gradients = torch.bmm(g.transpose(1, 2), g)
    total, size = 0.0, 0.0
    for residues, _ in patches._phases():
        products = _patch_gram(patches, residues).view_as(gradients).mul_(gradients)
        total = total + products.sum((1, 2))
        size = size + products.diagonal(dim1=1, dim2=2).sum(1)
    return trusted(total, size, patches)


def _patch_gram(patches: Patches, residues: tuple[int, ...]) -> Tensor:
    """Return the part that one phase has in the inner products of the patches."""
    x = patches._phase(residues)
    R, size = x.shape[1], x.shape[3:]
    flat = _flat(x)
    gram = torch.bmm(flat.transpose(1, 2), flat).view(len(x), R, *size, R, *size)
    for axis, P in enumerate(patches.g.shape[3:]):
        dims = axis + 2, axis + 3 + len(size)
        shifts = [q for r, q in patches._axes[axis] if r == residues[axis]]
        gram = _sum_of_windows(gram, dims, shifts, P)
    return gram


def _sum_of_windows(gram: Tensor, dims: tuple[int, int], shifts: list[int], P: int) -> Tensor:
    """Return the sum over shifts q of gram[p + q, p' + q], p and p' below P, along two axes."""
    shape = list(gram.shape)
    size = shape[dims[0]]
    if shifts == [0] and size == P:
        return gram
    shape[dims[0]] = shape[dims[1]] = P
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


def _padded(x: Tensor, margins: list[tuple[int, int]]) -> Tensor:
    flat = [width for pair in reversed(margins) for width in pair]
    return torch.nn.functional.pad(x, flat) if any(flat) else x


def _flat(x: Tensor) -> Tensor:
    """(N, R, C, *size) -> (N, C, R * size)."""
    return x.transpose(1, 2).flatten(2)
