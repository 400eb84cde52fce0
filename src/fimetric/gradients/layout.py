"""Which entries of a tensor belong to which sample.

A ``Layout`` says it by a formula: along one axis, entry i belongs to sample (i // inner) % N. This
covers (N, ...), (T, N, ...), samples folded into rows as N*T or T*N, and several rows per group.
``Ragged`` says it row by row, where the data chose the rows (tokens sorted by expert), and
``Colours`` entry by entry.
"""

import enum
import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Entry i along ``dim`` belongs to sample (i // inner) % samples.

    ``sure`` is False where too little was known to expect the formula in the next batch as well.
    """

    dim: int
    outer: int
    samples: int
    inner: int
    sure: bool = True

    def split(self, x: Tensor) -> Tensor:
        """Bring the samples to the front: (..., outer*N*inner, ...) -> (N, outer*inner, ...)."""
        x = x if self.dim == 0 else x.movedim(self.dim, 0)
        if self.outer == 1:
            return x.unsqueeze(1) if self.inner == 1 else x.unflatten(0, (self.samples, self.inner))
        rest = x.shape[1:]
        x = x.reshape(self.outer, self.samples, self.inner, *rest)
        return x.transpose(0, 1).reshape(self.samples, self.outer * self.inner, *rest)

    def only(self, x: Tensor, sample: int) -> Tensor:
        """Return ``x`` with the entries of all other samples set to zero."""
        index = torch.arange(x.shape[self.dim], device=x.device)
        mask = index.div(self.inner, rounding_mode="floor") % self.samples == sample
        shape = [1] * x.dim()
        shape[self.dim] = -1
        return torch.where(mask.view(shape), x, torch.zeros((), dtype=x.dtype, device=x.device))


@dataclass(frozen=True, eq=False)
class Ragged:
    """Entry i along ``dim`` belongs to sample ``owner[i]``; -1 where it was zero."""

    dim: int
    samples: int
    owner: Tensor

    def split(self, x: Tensor) -> Tensor:
        """Bring the samples to the front, filled up with zeros: (..., R, ...) -> (N, T, ...)."""
        rows = x.movedim(self.dim, 0)
        known, place, width = self._places
        known, place = known.to(x.device), place.to(x.device)
        out = rows.new_zeros(self.samples * width, *rows.shape[1:])
        return out.index_copy_(0, place, rows.index_select(0, known)).unflatten(
            0, (self.samples, width)
        )

    @property
    def sure(self) -> bool:
        """Return whether all rows are known: only then can the next batch have the same."""
        return bool((self.owner >= 0).all())

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, int]:
        """Known rows, sorted by sample; their places in what is filled up; its width."""
        rows = torch.argsort(self.owner, stable=True)[(self.owner < 0).sum() :]
        owner = self.owner[rows]
        count = torch.bincount(owner, minlength=self.samples)
        start = count.cumsum(0) - count
        width = int(count.max())
        among = torch.arange(len(rows), device=rows.device) - start[owner]
        return rows, owner * width + among, width

    def only(self, x: Tensor, sample: int) -> Tensor:
        """Return ``x`` with the entries of all other samples set to zero."""
        shape = [1] * x.dim()
        shape[self.dim] = -1
        mask = (self.owner.to(x.device) == sample).view(shape)
        return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


@dataclass(frozen=True)
class Colours:
    """``index`` holds the sample of each entry, -1 where the entry was zero."""

    index: Tensor

    def only(self, x: Tensor, sample: int) -> Tensor:
        """Return ``x`` with the entries of all other samples set to zero."""
        mask = self.index.to(x.device) == sample
        return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


class Uncoloured(enum.Enum):
    """What a tensor can be other than coloured by samples."""

    MIXED = "entries collect the gradients of several samples"
    UNKNOWN = "all gradients are zero in this batch"
    ABSENT = "no gradient arrives in any batch"


Axis = Layout | Ragged  # samples lie along one axis
Colour = Axis | Colours | Uncoloured
WASTE = 8  # times its size, or rows of a sample, that a ragged tensor may take when filled up


def owner_of_rows(layout: Axis, size: int) -> Tensor:
    """Return the sample of each of ``size`` entries along the layout's axis."""
    if isinstance(layout, Ragged):
        return layout.owner
    row = torch.arange(size, device="cpu")
    return row.div(layout.inner, rounding_mode="floor") % layout.samples


def rows_of(owner: Tensor, dim: int, samples: int) -> Axis:
    """Return the layout of rows of which each one's sample is known, or -1 where it is zero."""
    size, position = len(owner), torch.arange(len(owner), device=owner.device)
    known = size % samples == 0 and bool((owner >= 0).all())
    for inner in _divisors(size // samples) if known else []:
        if torch.equal(position.div(inner, rounding_mode="floor") % samples, owner):
            return Layout(dim, size // (inner * samples), samples, inner)
    return Ragged(dim, samples, owner)


def both(a: Axis, b: Axis) -> Axis | None:
    """Return the layout of a sum, None where an entry would belong to two samples."""
    if a is b:
        return a
    if isinstance(a, Layout) and isinstance(b, Layout):
        return replace(a, sure=a.sure and b.sure) if replace(a, sure=b.sure) == b else None
    if a.dim != b.dim:
        return None
    size = max(len(c.owner) for c in (a, b) if isinstance(c, Ragged))
    one, other = owner_of_rows(a, size).cpu().long(), owner_of_rows(b, size).cpu().long()
    if len(one) != len(other):  # parts of several sizes
        return None
    known = (one >= 0) & (other >= 0)
    if not torch.equal(one[known], other[known]):
        return None
    return rows_of(torch.maximum(one, other), a.dim, a.samples)


def one_sample(shape: torch.Size) -> Layout | Colours:
    """Return the layout of a tensor that belongs as a whole to the only sample."""
    if len(shape) == 0:
        return Colours(torch.zeros((), dtype=torch.long, device="cpu"))
    return Layout(dim=0, outer=1, samples=1, inner=shape[0])


def fit_layout(index: Tensor, samples: int) -> Axis | Colours:
    """Find the formula that agrees with every known entry of ``index``, else keep rows or entries.

    Unknown entries are zeros, so any formula that agrees is exact for this batch. It is sure to be
    the right one for the next batch only if no other agrees, and if the unknown rows are the same
    ones in every sample: rows that some samples use and others do not may be chosen by the data.

    Arguments:
        index: sample of each entry, -1 where unknown; any shape.
        samples: the number of samples N.
    """
    found = [
        layout
        for dim, size in enumerate(index.shape)
        if size % samples == 0
        for layout in _agreeing(index, dim, samples)
    ]
    if not found:
        return _by_rows(index, samples) or Colours(index)
    return found[0] if len(found) == 1 else replace(found[0], sure=False)


def _by_rows(index: Tensor, samples: int) -> Ragged | None:
    for dim, size in enumerate(index.shape):
        low, high = _span(index, dim, samples)
        known = high >= 0
        if torch.equal(low[known], high[known]):
            largest = int(torch.bincount(high[known], minlength=samples).max())
            if largest * samples <= WASTE * max(size, samples):
                return Ragged(dim, samples, high)
    return None


def _span(index: Tensor, dim: int, samples: int) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest known sample of each entry along ``dim``."""
    rows = index.movedim(dim, 0).reshape(index.shape[dim], -1)
    return torch.where(rows < 0, samples, rows).amin(1), rows.amax(1)


def _agreeing(index: Tensor, dim: int, samples: int) -> list[Layout]:
    """Return each formula along ``dim`` that agrees with what is known."""
    low, high = _span(index, dim, samples)
    known = high >= 0
    if not torch.equal(low[known], high[known]):
        return []
    position = torch.arange(len(high), device=index.device)[known]
    found = []
    for inner in _divisors(len(high) // samples):
        if torch.equal(position.div(inner, rounding_mode="floor") % samples, high[known]):
            by_sample = known.view(-1, samples, inner)
            alike = bool((by_sample == by_sample[:, :1]).all())
            found.append(Layout(dim, len(by_sample), samples, inner, alike))
    return found


def _divisors(n: int) -> list[int]:
    small = [k for k in range(1, math.isqrt(n) + 1) if n % k == 0]
    return sorted({*small, *(n // k for k in small)})
