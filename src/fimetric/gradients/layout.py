"""Which entries of a tensor belong to which sample.

A ``Layout`` says it by a formula: along one axis, entry i belongs to sample (i // inner) % N. This
covers (N, ...), (T, N, ...), samples folded into rows as N*T or T*N, and several rows per group.
``Colours`` say it entry by entry, where no formula does (tokens sorted by expert, ragged rows).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Entry i along ``dim`` belongs to sample (i // inner) % samples."""

    dim: int
    outer: int
    samples: int
    inner: int

    def split(self, x: Tensor) -> Tensor:
        """Bring the samples to the front: (..., outer*N*inner, ...) -> (N, outer*inner, ...)."""
        x = x.movedim(self.dim, 0)
        rest = x.shape[1:]
        if self.outer == 1:
            return x.reshape(self.samples, self.inner, *rest)
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
    """Find the one formula that agrees with every known entry of ``index``, else keep the entries.

    Where several formulas agree (too few known entries) none is chosen: the next batch could obey
    another one.

    Arguments:
        index: sample of each entry, -1 where unknown; any shape.
        samples: the number of samples N.
    """
    found = [
        Layout(dim, size // (samples * inner), samples, inner)
        for dim, size in enumerate(index.shape)
        if size % samples == 0
        for inner in _agreeing(index, dim, samples)
    ]
    return found[0] if len(found) == 1 else Colours(index)


def _agreeing(index: Tensor, dim: int, samples: int) -> list[int]:
    """Return each ``inner`` for which (i // inner) % N along ``dim`` agrees with what is known."""
    rows = index.movedim(dim, 0).reshape(index.shape[dim], -1)
    high = rows.amax(1)
    low = torch.where(rows < 0, samples, rows).amin(1)
    known = high >= 0
    if not torch.equal(low[known], high[known]):
        return []
    position = torch.arange(len(rows), device=index.device)[known]
    return [
        inner
        for inner in _divisors(len(rows) // samples)
        if torch.equal(position.div(inner, rounding_mode="floor") % samples, high[known])
    ]


def _divisors(n: int) -> list[int]:
    small = [k for k in range(1, math.isqrt(n) + 1) if n % k == 0]
    return sorted({*small, *(n // k for k in small)})
