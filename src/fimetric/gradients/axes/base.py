"""What a rule on the samples' axis is given, and what most rules come down to."""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fimetric.gradients.graph import axis_of
from fimetric.gradients.layout import Axis, Layout, Ragged, owner_of_rows


class Shared(enum.Enum):
    """What the gradient of an input is, where it belongs to no sample."""

    SUMMED = "a sum over the samples"
    CONTRACTED = "a sum over the samples with factors, unless all but one of these are zero"


Found = Axis | Shared | None  # None: this rule cannot tell


@dataclass(frozen=True)
class Use:
    """Input number ``input`` of the operation ``node``, whose output's gradient has ``layout``."""

    node: Any  # saved attributes are its own
    input: int
    layout: Axis
    output: torch.Size
    shape: torch.Size  # of the input

    @property
    def dim(self) -> int:
        """Axis of the output that holds the samples."""
        return self.layout.dim

    def at(self, dim: int) -> Axis:
        """Return the same layout along another axis."""
        return self.layout if dim == self.dim else replace(self.layout, dim=dim)

    def axes(self, name: str = "dim") -> tuple[int, ...]:
        """Return one or several saved axes, counted from the front of the input."""
        saved, size = getattr(self.node, f"_saved_{name}"), len(self.shape)
        several = saved if isinstance(saved, list | tuple) else [saved]
        if saved is None or not several:  # all of them
            return tuple(range(size))
        return tuple(axis_of(axis, size) for axis in several)


Rule = Callable[[Use], Found]


def same(use: Use) -> Found:
    """One entry of the input for one of the output."""
    return use.layout if use.shape == use.output else None


def repeated(use: Use) -> Found:
    """An input that was repeated along axes of the output, and is one with it but for that."""
    dim, size = use.dim - len(use.output) + len(use.shape), use.output[use.dim]
    if dim >= 0 and use.shape[dim] == size:
        return use.at(dim)
    once = dim < 0 or use.shape[dim] == 1
    return Shared.SUMMED if once and size > 1 else None  # one row may be all that a sample has


def broadcast(use: Use) -> Found:
    """An input that was repeated as well, and that data may have picked from."""
    found = repeated(use)
    return Shared.CONTRACTED if found is Shared.SUMMED else found


def reshaped(use: Use) -> Found:
    """The same entries in the same order, with other axes."""
    layout, inner, below = use.layout, math.prod(use.output[use.dim + 1 :]), 1
    if isinstance(layout, Ragged):
        return _same_rows(use) or _folded_rows(use, inner)
    if 0 in use.shape:
        return None
    inner *= layout.inner
    period = inner * layout.samples
    for dim in reversed(range(len(use.shape))):
        above = below * use.shape[dim]
        if inner % below == 0 and above % period == 0:
            return Layout(dim, above // period, layout.samples, inner // below, layout.sure)
        below = above
    return None


def _same_rows(use: Use) -> Found:
    """Rows that stay one axis."""
    before = math.prod(use.output[: use.dim])
    for dim, size in enumerate(use.shape):
        if size == use.output[use.dim] and math.prod(use.shape[:dim]) == before:
            return use.at(dim)
    return None


def _folded_rows(use: Use, inner: int) -> Found:
    """Rows that become one axis with those around them."""
    if 0 in use.shape:
        return None
    owner, below = owner_of_rows(use.layout, use.output[use.dim]), 1
    for dim in reversed(range(len(use.shape))):
        above, period = below * use.shape[dim], inner * len(owner)
        if inner % below == 0 and above % period == 0:
            rows = owner.repeat_interleave(inner // below).repeat(above // period)
            return Ragged(dim, use.layout.samples, rows)
        below = above
    return None


def kept(use: Use, axes: Sequence[int]) -> Found:
    """An operation within the given axes, such as a softmax: all others stay as they are."""
    if use.dim in axes or len(use.shape) != len(use.output):
        return None
    return use.layout if use.shape[use.dim] == use.output[use.dim] else None


def within(name: str = "dim") -> Rule:
    """Return the rule of an operation within its saved axes."""
    return lambda use: kept(use, use.axes(name))


def leading(last: int) -> Rule:
    """Return the rule of an operation within the last axes, as pooling in two dimensions."""
    return lambda use: kept(use, range(len(use.output) - last, len(use.output)))
