"""The oracle: one backward pass per sample, and nothing clever."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions import squared_norms


def gradients_one_by_one(losses: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Return each sample's gradient of each parameter, by one backward pass per sample.

    Arguments:
        losses: (N,), with a graph, which is kept.
        parameters: J tensors.

    Returns:
        One tensor (N, *shape) per parameter; None where the graph does not use it.
    """
    columns: list[list[Tensor]] = [[] for _ in parameters]
    used = [False] * len(parameters)
    for n in range(len(losses)):
        found = torch.autograd.grad(losses[n], parameters, retain_graph=True, allow_unused=True)
        for j, g in enumerate(found):
            used[j] |= g is not None
            columns[j].append(torch.zeros_like(parameters[j]) if g is None else g)
    return [torch.stack(c) if u else None for c, u in zip(columns, used, strict=True)]


def squared_gradient_norms(
    function: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    parameters: Sequence[Tensor],
) -> Tensor:
    """Return the table of squared norms by running the model on every batch alone.

    Arguments:
        function: batch -> losses, summed here to one number: one row of the table.
        batches: one per row, a batch of one sample or the samples of one group.
        parameters: J tensors.

    Returns:
        (N, J) squared norms.
    """
    rows = []
    for batch in batches:
        found = torch.autograd.grad(function(batch).sum(), parameters, allow_unused=True)
        zero = parameters[0].detach().abs().new_zeros(1)
        rows.append(
            torch.cat([zero if g is None else squared_norms(g.unsqueeze(0)) for g in found])
        )
    return torch.stack(rows)
