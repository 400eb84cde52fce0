"""Layouts that are tried on a whole tensor, before it is read entry by entry."""

import torch
from torch import Tensor

from fimetric.gradients.layout import Layout, owner_of_rows
from fimetric.gradients.probes import readable


def first_that_holds(
    one: Tensor, g: Tensor, exponents: Tensor, before: Layout | None, N: int, smallest: float
) -> Layout | None:
    """Return the formula of an earlier batch, or a usual one that no other could explain."""
    if one.device.type != "cpu" or one.is_complex():  # sums have no fixed order elsewhere
        return None
    if before is not None:
        return before if holds(before, one, g, exponents) else None
    for formula in _usual(one.shape, N):
        if holds(formula, one, g, exponents) and _explains(formula, one, smallest):
            return formula
    return None


def _usual(shape: torch.Size, N: int) -> list[Layout]:
    """Return the formulas of samples in front, time in front, and rows T * N."""
    found = []
    for dim, size in enumerate(shape[:2]):
        if size % N == 0 and size > 0:
            found.append(Layout(dim, 1, N, size // N))
            if size > N:
                found.append(Layout(dim, size // N, N, 1))
    return found


def holds(layout: Layout, one: Tensor, g: Tensor, exponents: Tensor) -> bool:
    """Return whether every entry is its sample's power of two times what it was before."""
    owner = owner_of_rows(layout, one.shape[layout.dim])
    shape = [1] * one.dim()
    shape[layout.dim] = -1
    return torch.equal(torch.ldexp(one, exponents[owner].view(shape)), g)


def _explains(layout: Layout, one: Tensor, smallest: float) -> bool:
    """Return whether no other formula could hold as well, in this batch or the next.

    Every row must be known, so that no data choose among them. Along another axis a formula gives
    half of the entries of a row at most to one sample, so one row must be known by more.
    """
    rows = readable(one, smallest).movedim(layout.dim, 0)
    known = rows.reshape(len(rows), -1).float().mean(1)
    return bool(known.min() > 0) and bool(known.max() > 0.5)
