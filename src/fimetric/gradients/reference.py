"""The oracle: one backward pass per sample, and nothing clever."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from fimetric.gradients.contributions import squared_norms


def gradient_of_one(
    losses: Tensor, parameters: Sequence[Tensor], sample: int
) -> list[Tensor | None]:
    """Return one sample's gradient of each parameter; the graph is kept."""
    found = torch.autograd.grad(losses[sample], parameters, retain_graph=True, allow_unused=True)
    return _written_out(found)


def _written_out(gradients: Iterable[Tensor | None]) -> list[Tensor | None]:
    return [g.to_dense() if g is not None and g.is_sparse else g for g in gradients]


@contextmanager
def untouched(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Take away the parameters' ``grad`` for a while, and put back what was there."""
    before = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    try:
        yield
    finally:
        for p, grad in zip(parameters, before, strict=True):
            p.grad = grad


def hidden_gradient_of_one(
    losses: Tensor, parameters: Sequence[Tensor], sample: int
) -> list[Tensor | None]:
    """Return the same by ``backward()``, which sees parameters that the graph does not show.

    A reentrant checkpoint, or a Python Function that backpropagates by itself, accumulates into
    the parameters' ``grad``.
    """
    with untouched(parameters):
        losses[sample].backward(retain_graph=True)
        return _written_out(p.grad for p in parameters)


def gradients_one_by_one(
    losses: Tensor,
    parameters: Sequence[Tensor],
    one: Callable[..., list[Tensor | None]] = gradient_of_one,
) -> list[Tensor | None]:
    """Return each sample's gradient of each parameter, by one backward pass per sample.

    Arguments:
        losses: (N,), with a graph, which is kept.
        parameters: J tensors.
        one: how one sample's gradient is computed.

    Returns:
        One tensor (N, *shape) per parameter; None where the graph does not use it.
    """
    columns: list[list[Tensor]] = [[] for _ in parameters]
    used = [False] * len(parameters)
    for n in range(len(losses)):
        for j, g in enumerate(one(losses, parameters, n)):
            used[j] |= g is not None
            columns[j].append(torch.zeros_like(parameters[j]) if g is None else g)
    return [torch.stack(c) if u else None for c, u in zip(columns, used, strict=True)]


def squared_gradient_norms(
    function: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    parameters: Sequence[Tensor],
    one: Callable[..., list[Tensor | None]] = gradient_of_one,
) -> Tensor:
    """Return the table of squared norms by running the model on every batch alone.

    Arguments:
        function: batch -> losses, summed here to one number: one row of the table.
        batches: one per row, a batch of one sample or the samples of one group.
        parameters: J tensors.
        one: how the gradient is computed.

    Returns:
        (N, J) squared norms.
    """
    rows = []
    for batch in batches:
        losses = function(batch).sum().unsqueeze(0)
        found = one(losses, parameters, 0)
        zero = parameters[0].detach().abs().new_zeros(1)
        rows.append(
            torch.cat([zero if g is None else squared_norms(g.unsqueeze(0)) for g in found])
        )
    return torch.stack(rows)
