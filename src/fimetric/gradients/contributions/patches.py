"""Gradients of a convolution's weight, of one to three dimensions, dilated and strided.

At kernel offset k the gradient is the sum over positions p of g[p] x[stride p + t], t = dilation k
in the padded input. With t = stride q + r the input falls into PHASES x[r::stride], and within a
phase every offset is a mere SHIFT q. Two forms of the norm follow:

direct: phases are flattened, and g is embedded into the same size, zero where it has no position. A
    shift of all axes is then one shift of the flat axis, so each offset is one matrix product of
    two views. Squared norms of the offsets add up; N weights are never held.
pixels: the Gram matrix of the patches is a sum of shifted windows of the Gram matrix of the pixels,
    which takes as many multiplications less as the kernel has offsets.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
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
        return self.flat_gradients().transpose(1, 2)

    @property
    def v(self) -> Tensor:
        """Patches, (N, T, I * kernel)."""
        return torch.stack(self._in_order(), 2).flatten(1, 2).transpose(1, 2)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, O, I, *kernel)."""
        g = self.flat_gradients()
        offsets = [torch.bmm(g, x.transpose(1, 2)) for x in self._in_order()]
        return torch.stack(offsets, -1).reshape(len(self), *self.shape)

    def scale(self) -> Tensor:
        """Return the sum over positions of |output gradient| |patch|, (N,)."""
        pixels = Patches(
            widened(self.x).square().sum(2, keepdim=True), self.g, self.shape, *self.geometry
        )
        patches = torch.stack(pixels._in_order()).sum(0).squeeze(1)
        gradients = self.flat_gradients().square().sum(1)
        return (patches.sqrt() * gradients.sqrt()).sum(1)

    def squared_norms(self) -> Tensor:
        """Return the squared norms, (N,), in whichever form is cheaper."""
        O, I, *kernel = self.shape
        R, size, positions = self.x.shape[1], self.x.shape[3:], self.g.shape[3:]
        if pixel_gram_is_cheaper(R, size, positions, kernel, self.geometry[0], O, I):
            T = R * max(math.prod(size) // math.prod(self.geometry[0]), math.prod(positions))
            return in_chunks(self, _norms_by_pixels, 3 * 4 * T * T)
        held = O * I + R * (2 * I * math.prod(size) + O * math.prod(positions))
        return in_chunks(self, _norms_by_shifts, 4 * held)

    def phases(self, padded: bool) -> list[list[tuple[int, int]]]:
        """Return per axis and kernel offset the residue r and the shift q."""
        return [
            [divmod(d * k - (0 if padded else p), s)[::-1] for k in range(size)]
            for size, s, p, d in zip(self.shape[2:], *self.geometry, strict=True)
        ]

    @cached_property
    def reach(self) -> list[int]:
        """The largest shift of each axis of the padded input."""
        return [axis[-1][1] for axis in self.phases(padded=True)]

    @cached_property
    def _padded(self) -> Tensor:
        """The input on which every shift stays inside, (N, R, I, *(positions + reach) * stride)."""
        stride, padding, _ = self.geometry
        sizes = zip(self.x.shape[3:], self.g.shape[3:], self.reach, stride, padding, strict=True)
        return _pad(self.x, [(p, s * (P + q) - size - p) for size, P, q, s, p in sizes])

    def flat_phases(self, residues: Sequence[tuple[int, ...]]) -> Tensor:
        """Return phases side by side, (N, phases * I, R * size)."""
        stride = self.geometry[0]
        steps = [
            tuple(slice(r, None, s) for r, s in zip(phase, stride, strict=True))
            for phase in residues
        ]
        found = [self._padded[(slice(None),) * 3 + step] for step in steps]
        return _flat(found[0] if len(found) == 1 else torch.cat(found, 2))

    def flat_gradients(self) -> Tensor:
        """Return the output gradients embedded into the size of a phase, (N, O, T)."""
        g = _flat(_pad(self.g, [(0, q) for q in self.reach]))
        return g[:, :, : g.shape[2] - self.flat_shift(self.reach)]

    def flat_shift(self, shift: Sequence[int]) -> int:
        """Return the shift of the flat axis."""
        flat = 0
        for q, reach, P in zip(shift, self.reach, self.g.shape[3:], strict=True):
            flat = flat * (P + reach) + q
        return flat

    def window(self, phase: Tensor, shift: Sequence[int]) -> Tensor:
        """Return the inputs that meet the gradients at one shift, a view (N, I, T)."""
        start = self.flat_shift(shift)
        return phase[:, :, start : phase.shape[2] - self.flat_shift(self.reach) + start]

    def _in_order(self) -> list[Tensor]:
        """Return the window of each kernel offset, last axis fastest."""
        offsets = itertools.product(*self.phases(padded=True))
        pairs = [tuple(zip(*offset, strict=True)) for offset in offsets]
        flat = {residues: self.flat_phases([residues]) for residues, _ in pairs}
        return [self.window(flat[residues], shift) for residues, shift in pairs]


def _norms_by_shifts(patches: Patches) -> Tensor:
    g = patches.flat_gradients()
    total = g.new_zeros(len(g))
    for shifts, residues in _alike(patches.phases(padded=True)):
        phase = patches.flat_phases(residues)
        windows = [patches.window(phase, shift) for shift in itertools.product(*shifts)]
        if phase.shape[1] <= NARROW:
            windows = [torch.cat(windows, 1)]
        for x in windows:
            total += squared_norms(torch.bmm(g, x.transpose(1, 2)))
    return total


def _alike(axes: list[list[tuple[int, int]]]) -> Iterator[tuple[list, list]]:
    """Yield the shifts of each axis, and all phases that have just these."""
    groups = []
    for axis in axes:
        shifts: dict[int, list[int]] = {}
        for r, q in axis:
            shifts.setdefault(r, []).append(q)
        alike: dict[tuple[int, ...], list[int]] = {}
        for r, own in shifts.items():
            alike.setdefault(tuple(own), []).append(r)
        groups.append(alike.items())
    for choice in itertools.product(*groups):
        shifts_of_axes, residues = zip(*choice, strict=True)
        yield list(shifts_of_axes), list(itertools.product(*residues))


def _norms_by_pixels(patches: Patches) -> Tensor:
    g = _flat(patches.g)
    gradients = torch.bmm(g.transpose(1, 2), g)
    total = size = g.new_zeros(())
    axes = patches.phases(padded=False)
    for residues in itertools.product(*(sorted({r for r, _ in axis}) for axis in axes)):
        gram = _patch_gram(patches, axes, residues)
        products = gram.view_as(gradients).mul_(gradients)
        total = total + products.sum((1, 2))
        size = size + products.diagonal(dim1=1, dim2=2).sum(1)
    return trusted(total, size, patches)


def _patch_gram(
    patches: Patches, axes: list[list[tuple[int, int]]], residues: tuple[int, ...]
) -> Tensor:
    """Return what one phase adds to the inner products of the patches, (N, T, T)."""
    steps = zip(residues, patches.geometry[0], strict=True)
    x = patches.x[(slice(None),) * 3 + tuple(slice(r, None, s) for r, s in steps)]
    R, size, flat = x.shape[1], x.shape[3:], _flat(x)
    gram = torch.bmm(flat.transpose(1, 2), flat).view(len(x), R, *size, R, *size)
    for k, (axis, r, P) in enumerate(zip(axes, residues, patches.g.shape[3:], strict=True)):
        shifts = [q for residue, q in axis if residue == r]
        gram = _sum_of_windows(gram, (k + 2, k + 3 + len(size)), shifts, P)
    return gram


def _sum_of_windows(gram: Tensor, dims: tuple[int, int], shifts: list[int], P: int) -> Tensor:
    """Return the sum over shifts q of gram[p + q, p' + q], p and p' below P, along two axes."""
    size = gram.shape[dims[0]]
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


def _pad(x: Tensor, margins: list[tuple[int, int]]) -> Tensor:
    flat = [width for pair in reversed(margins) for width in pair]
    return torch.nn.functional.pad(x, flat) if any(flat) else x


def _flat(x: Tensor) -> Tensor:
    """(N, R, C, *size) -> (N, C, R * size), widened."""
    return widened(x.transpose(1, 2).flatten(2))
