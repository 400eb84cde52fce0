"""What a rule is given, and the reduction that most rules end in."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from fimetric.gradients.contributions import Contribution, Sum
from fimetric.gradients.layout import Colours, Layout


@dataclass(frozen=True)
class Tapped:
    """One use of a parameter: input number ``input`` of the operation ``node``."""

    node: Any  # saved tensors are its attributes
    input: int
    gradients: tuple[Tensor | None, ...]  # of the node's outputs
    layouts: tuple[Layout | Colours | None, ...]
    target: GradientEdge  # where the input comes from
    shape: torch.Size  # of the input
    samples: int
    scratch: dict[str, Any]  # shared by all uses of the same node

    @property
    def gradient(self) -> Tensor:
        """Gradient of the only output, or of the first of several."""
        assert self.gradients[0] is not None  # a tap without gradient is never handed to a rule
        return self.gradients[0]

    @property
    def layout(self) -> Layout | Colours | None:
        """Layout of the only output, or of the first of several."""
        return self.layouts[0]

    def pull(self, gradients: list[Tensor | None]) -> Tensor:
        """Return the gradient of this input, and no other, for any gradients of the outputs."""
        if not isinstance(self.node, torch.autograd.function.BackwardCFunction):
            # Inside a backpropagation a node leaves out what that one does not need, and that is
            # a property of the thread: another thread gets all gradients.
            found = _outside.submit(_call, self.node, gradients).result()[self.input]
        else:
            found = self._pull_by_engine(gradients)
        if found is None:
            return self.gradient.new_zeros(self.shape)
        return (found.to_dense() if found.is_sparse else found).sum_to_size(self.shape)

    def _pull_by_engine(self, gradients: list[Tensor | None]) -> Tensor | None:
        """Functions written in Python return gradients of other arguments as well."""
        given = [(GradientEdge(self.node, k), g) for k, g in enumerate(gradients) if g is not None]
        (found,) = torch.autograd.grad(
            [edge for edge, _ in given],
            [self.target],
            [g for _, g in given],
            retain_graph=True,
            allow_unused=True,
        )
        return found


_outside = ThreadPoolExecutor(1)


@torch.no_grad()
def _call(node: Any, gradients: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    found = node(*gradients)
    return tuple(found) if isinstance(found, tuple | list) else (found,)


def broadcast(
    terms: Tensor,
    layout: Layout | Colours | None,
    shape: torch.Size,
    aligned: tuple[int, ...] | None = None,
) -> Contribution | None:
    """Sum elementwise terms over all axes along which the parameter was broadcast, per sample.

    Arguments:
        terms: one term per entry of the operation's output.
        layout: where the samples lie in ``terms``.
        shape: shape of the parameter.
        aligned: ``shape`` with ones inserted so that it broadcasts against ``terms``.
    """
    if not isinstance(layout, Layout):
        return None
    dims = _summed(terms.shape, layout.dim, tuple(shape) if aligned is None else aligned)
    return None if dims is None else Sum(layout.split(terms), dims, shape)


@lru_cache(maxsize=4096)
def _summed(terms: torch.Size, samples: int, aligned: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the axes to sum of terms whose samples have been brought to the front."""
    full = (1,) * (len(terms) - len(aligned)) + aligned
    if len(full) > len(terms) or full[samples] != 1:
        return None
    kept = [k for k in range(len(terms)) if full[k] != 1 and k != samples]
    if any(full[k] != terms[k] for k in kept):
        return None
    place = {k: k + 2 if k < samples else k + 1 for k in range(len(terms))}
    return 1, *(place[k] for k in range(len(terms)) if k not in kept and k != samples)
