"""Squared norms of ordinary gradients, each taken as soon as the gradient is complete.

All gradients of a model at once take as much memory as the model. A hook takes the norm of a large
one when it arrives at its parameter, and leaves a view of a single zero in its place.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions import Dense, squared_norms
from fimetric.gradients.hooks import Registered
from fimetric.gradients.reference import hidden_gradient_of_one

LARGE = 1 << 16  # numbers from which on a gradient is worth a hook
Squares = list[Tensor | None]  # () per parameter, None where the graph does not use it


def squares_one_by_one(
    losses: Tensor, parameters: Sequence[Tensor], hidden: bool, retain_graph: bool
) -> Iterator[Squares]:
    """Yield each sample's squared norms, by one backward pass per sample.

    Arguments:
        losses: (N,), with a graph.
        parameters: J tensors.
        hidden: whether only ``backward()`` reaches all parameters; the graph is kept then.
        retain_graph: whether the graph is kept.
    """
    for n in range(len(losses)):
        if hidden:
            yield list(map(square, hidden_gradient_of_one(losses, parameters, n)))
        else:
            keep = retain_graph or n < len(losses) - 1
            yield squares_of_one(losses, parameters, n, retain_graph=keep)


def squares_of_one(
    losses: Tensor,
    parameters: Sequence[Tensor],
    sample: int,
    factor: float = 1.0,
    retain_graph: bool = True,
) -> Squares:
    """Return the squared norms of one sample's gradients, times ``factor``, by plain autograd."""
    weights = torch.zeros_like(losses)
    weights[sample] = factor
    found: dict[int, Tensor | None] = {}

    def taking(j: int) -> Callable[[Tensor], Tensor]:
        def take(g: Tensor) -> Tensor:
            found[j] = square(g)
            nothing = torch.zeros((), dtype=g.dtype, device=g.device)
            return g if g.is_sparse else nothing.expand(g.shape)

        return take

    large = [j for j, p in enumerate(parameters) if p.numel() >= LARGE]
    handles = [Registered.on(parameters[j], taking(j)) for j in large]
    try:
        gradients = torch.autograd.grad(
            losses, parameters, weights, retain_graph=retain_graph, allow_unused=True
        )
    finally:
        for handle in handles:
            handle.remove()
    return [found[j] if j in found else square(g) for j, g in enumerate(gradients)]


def square(g: Tensor | None) -> Tensor | None:
    """Return the squared norm () of a gradient, sparse or not."""
    if g is None:
        return None
    whole = (g.to_dense() if g.is_sparse else g).unsqueeze(0)
    if g.numel() < LARGE:  # in one piece: a model has hundreds of them, a call each
        return squared_norms(whole)[0]
    return Dense(whole).quick_norms()[0]
