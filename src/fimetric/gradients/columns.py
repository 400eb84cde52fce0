"""The table of squared norms, filled column by column, and what the terms of some samples were."""

from collections import defaultdict

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, squared_norms

SMALL = 1 << 10  # numbers in a tensor whose norm costs less than the call that computes it
TOGETHER = 32  # such tensors that wait for each other

Chosen = slice | Tensor  # samples
ALL = slice(None)


class Columns:
    """Takes contributions as they come; those of small tensors are reduced many at a time.

    Arguments:
        zeros: (N, J).
        measured: samples whose scales are taken as well.
    """

    def __init__(self, zeros: Tensor, measured: Chosen | None = None) -> None:
        self._table, self._measured = zeros, measured
        self._scale = torch.full_like(zeros, torch.nan)
        if measured is not None:
            self._scale[measured] = 0.0  # of parameters that nothing arrives at
        self._waiting: dict[tuple[int, torch.dtype], dict[int, Tensor]] = defaultdict(dict)

    def take(self, j: int, contribution: Contribution) -> None:
        """Fill column ``j``; if it was filled before, by a read that failed, fill it anew."""
        for waiting in self._waiting.values():
            waiting.pop(j, None)
        if self._measured is not None:
            every = self._measured is ALL
            some = contribution if every else contribution[self._measured]
            self._scale[self._measured, j] = some.scale().to(self._scale)
        if contribution.shape.numel() <= SMALL:
            values = contribution.dense().reshape(len(contribution), contribution.shape.numel())
            kind = values.shape[1], values.dtype
            self._waiting[kind][j] = values
            if len(self._waiting[kind]) == TOGETHER:
                self._reduce(self._waiting.pop(kind))
        else:
            self._table[:, j] = contribution.squared_norms()

    def table(self) -> Tensor:
        """Return the table (N, J)."""
        for waiting in self._waiting.values():
            self._reduce(waiting)
        self._waiting.clear()
        return self._table

    def scale(self) -> Tensor:
        """Return the scales of the contributions (N, J), NaN of samples not measured."""
        return self._scale

    def _reduce(self, waiting: dict[int, Tensor]) -> None:
        if waiting:
            stacked = torch.stack(list(waiting.values()), 1)  # (N, columns, numbers)
            norms = squared_norms(stacked.flatten(0, 1)).view(-1, len(waiting))
            self._table[:, list(waiting)] = norms.to(self._table)
