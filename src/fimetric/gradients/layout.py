"""Which entries of a tensor belong to which sample.

A ``Layout`` says it by a formula: along one axis, entry i belongs to sample (i // inner) % N. This
covers (N, ...), (T, N, ...), samples folded into rows as N*T or T*N, and several rows per group.
``Colours`` say it entry by entry, where no formula does (tokens sorted by expert, ragged rows).
"""

import math
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Colours:
    """``index`` holds the sample of each entry, -1 where the entry was zero."""

    index: Tensor

    def only(self, x: Tensor, sample: int) -> Tensor:
        """Return ``x`` with the entries of all other samples set to zero."""
        mask = self.index.to(x.device) == sample
        return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


def one_sample(shape: torch.Size) -> Layout | Colours:
    """Return the layout of a tensor that belongs as a whole to the only sample."""
    if len(shape) == 0:
        return Colours(torch.zeros((), dtype=torch.long))
    return Layout(dim=0, outer=1, samples=1, inner=shape[0])


def fit_layout(index: Tensor, samples: int) -> Layout | Colours:
    """Find the formula that agrees with every known entry of ``index``, else keep the entries.

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
        return Colours(index)
    return found[0] if len(found) == 1 else replace(found[0], sure=False)


def _agreeing(index: Tensor, dim: int, samples: int) -> list[Layout]:
    """Return each formula along ``dim`` that agrees with what is known."""
    rows = index.movedim(dim, 0).reshape(index.shape[dim], -1)
    high = rows.amax(1)
    low = torch.where(rows < 0, samples, rows).amin(1)
    known = high >= 0
    if not torch.equal(low[known], high[known]):
        return []
    position = torch.arange(len(rows), device=index.device)[known]
    found = []
    for inner in _divisors(len(rows) // samples):
        if torch.equal(position.div(inner, rounding_mode="floor") % samples, high[known]):
            by_sample = known.view(-1, samples, inner)
            alike = bool((by_sample == by_sample[:, :1]).all())
            found.append(Layout(dim, len(by_sample), samples, inner, alike))
    return found


def _divisors(n: int) -> list[int]:
    small = [k for k in range(1, math.isqrt(n) + 1) if n % k == 0]
    return sorted({*small, *(n // k for k in small)})
