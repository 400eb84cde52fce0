"""What a rule is given, and the reduction that most rules end in."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.checkpoints import Group
from fimetric.gradients.contributions import Contribution, Sum
from fimetric.gradients.layout import Axis, Colours


@dataclass(frozen=True)
class Tapped:
    """One use of a parameter: input number ``input`` of the operation ``node``."""

    node: Any  # saved tensors are its attributes
    input: int
    gradients: tuple[Tensor | None, ...]  # of the node's outputs
    layouts: tuple[Axis | Colours | None, ...]
    shape: torch.Size  # of the input
    samples: int
    scratch: dict[str, Any]  # shared by all uses of the node; "inputs" has their shapes

    @property
    def gradient(self) -> Tensor:
        """Gradient of the only output, or of the first of several."""
        assert self.gradients[0] is not None  # a tap without gradient is never handed to a rule
        return self.gradients[0]

    @property
    def layout(self) -> Axis | Colours | None:
        """Layout of the only output, or of the first of several."""
        return self.layouts[0]

    def pull(self, gradients: list[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs of the node for any gradients of its outputs."""
        if isinstance(self.node, torch.autograd.function.BackwardCFunction):
            return _apply(self.node, gradients)
        # Inside a backpropagation a node leaves out what that one does not need, and that is
        # a property of the thread: another thread gets all gradients. So is the stream.
        where = _stream(self.gradients), self.scratch.setdefault("group", Group())
        return _outside(os.getpid()).submit(_call, self.node, gradients, *where).result()


@cache
def _outside(process: int) -> ThreadPoolExecutor:
    """Return the other thread of a process: a forked child has none of its parent's threads."""
    return ThreadPoolExecutor(1)


def _stream(gradients: Sequence[Tensor | None]) -> torch.cuda.Stream | None:
    """Return the stream in which gradients are computed, if they are on a GPU."""
    device = next(g.device for g in gradients if g is not None)
    return torch.cuda.current_stream(device) if device.type == "cuda" else None


@torch.no_grad()
def _call(
    node: Any, gradients: list[Tensor | None], stream: torch.cuda.Stream | None, group: Any
) -> tuple[Tensor | None, ...]:
    with torch.cuda.stream(stream), group:
        found = node(*gradients)
    return tuple(found) if isinstance(found, tuple | list) else (found,)


@torch.no_grad()
def _apply(node: Any, gradients: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Call a function written in Python, which returns a gradient for every argument."""
    given = [
        torch.zeros(m.shape, dtype=m.dtype, device=m.device) if g is None else g
        for g, m in zip(gradients, node._input_metadata, strict=True)
    ]
    found = node.apply(*given)
    found = found if isinstance(found, tuple) else (found,)
    wanted = iter([g for g, needed in zip(found, node.needs_input_grad, strict=False) if needed])
    return tuple(None if edge is None else next(wanted) for edge, _ in node.next_functions)


def broadcast(
    terms: Tensor,
    layout: Axis | Colours | None,
    shape: torch.Size,
    aligned: tuple[int, ...] | None = None,
    sizes: Callable[[], Contribution | None] | None = None,
) -> Contribution | None:
    """Sum elementwise terms over all axes along which the parameter was broadcast, per sample.

    Arguments:
        terms: one term per entry of the operation's output.
        layout: where the samples lie in ``terms``.
        shape: shape of the parameter.
        aligned: ``shape`` with ones inserted so that it broadcasts against ``terms``.
        sizes: makes the same sum of what the terms were before they cancelled themselves.
    """
    if not isinstance(layout, Axis):
        return None
    dims = _summed(terms.shape, layout.dim, tuple(shape) if aligned is None else aligned)
    return None if dims is None else Sum(layout.split(terms), dims, shape, sizes)


@lru_cache(maxsize=4096)
def _summed(terms: torch.Size, samples: int, aligned: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the axes to sum of terms whose samples have been brought to the front, in the order
    that they had.
    """
    full = (1,) * (len(terms) - len(aligned)) + aligned
    if len(full) > len(terms) or full[samples] != 1:
        return None
    kept = [k for k in range(len(terms)) if full[k] != 1 and k != samples]
    if any(full[k] != terms[k] for k in kept):
        return None
    place = {k: k + 2 if k < samples else k + 1 for k in range(len(terms))} | {samples: 1}
    return tuple(place[k] for k in range(len(terms)) if k not in kept)


def times(x: Tensor, factor: float) -> Tensor:
    """Return ``x`` times a number that is one nearly always."""
    return x if factor == 1 else x * factor
