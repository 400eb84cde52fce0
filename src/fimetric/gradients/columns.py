"""The table of squared norms, filled column by column, and what the terms of some samples were."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Dense, squared_norms
from fimetric.gradients.contributions.base import budget
from fimetric.gradients.contributions.costs import using
from fimetric.gradients.machine import costs_on
from fimetric.gradients.squares import Squares

SMALL = 1 << 10  # numbers in a tensor whose norm costs less than the call that computes it
TOGETHER = 32  # such tensors that wait for each other
Kind = tuple[int, torch.dtype, torch.device]  # of tensors that can be reduced together

Chosen = slice | Tensor  # samples
ALL = slice(None)


class Columns:
    """Takes contributions as they come; those of small tensors are reduced many at a time.

    Whether a norm has lost its digits is seen in its value, and to look at one is to wait for the
    device. So contributions are held until there are some to look at together.

    Arguments:
        zeros: (N, J).
        measured: samples whose scales are taken as well.
    """

    def __init__(self, zeros: Tensor, measured: Chosen | None = None) -> None:
        self._zeros, self._measured = zeros, measured
        self._costs = costs_on(zeros.device)  # a device's own threads do not know who says what
        self._scale = torch.full_like(zeros, torch.nan)
        if measured is not None:
            self._scale[measured] = 0.0  # of parameters that nothing arrives at
        self._columns: dict[int, Tensor] = {}
        self._waiting: dict[Kind, dict[int, Tensor]] = defaultdict(dict)
        self._doubtful: dict[int, Contribution] = {}
        self._held = 0  # bytes

    def take(self, j: int, contribution: Contribution) -> None:
        """Fill column ``j``; if it was filled before, by a read that failed, fill it anew."""
        for waiting in self._waiting.values():
            waiting.pop(j, None)
        self._doubtful.pop(j, None)
        if self._measured is not None:
            every = self._measured is ALL
            some = contribution if every else contribution[self._measured]
            self._scale[self._measured, j] = some.scale().to(self._scale)
        if contribution.shape.numel() <= SMALL:
            values = contribution.dense().reshape(len(contribution), contribution.shape.numel())
            kind = values.shape[1], values.dtype, values.device
            self._waiting[kind][j] = values
            if len(self._waiting[kind]) == TOGETHER:
                self._reduce(self._waiting.pop(kind))
        else:
            with using(self._costs):
                self._columns[j] = contribution.quick_norms()
            if not isinstance(contribution, Dense):
                self._hold(j, contribution)

    def fill(self, rows: Iterable[Squares]) -> None:
        """Fill the table row by row, with squared norms of gradients as autograd gives them."""
        zeros = self._zeros[0].unbind()
        table = torch.stack([_stacked(row, zeros) for row in rows])
        self._columns = dict(enumerate(table.unbind(1)))
        if self._measured is not None:
            self._scale[self._measured] = table[self._measured].sqrt()

    def table(self) -> Tensor:
        """Return the table (N, J)."""
        for waiting in self._waiting.values():
            self._reduce(waiting)
        self._waiting.clear()
        self._settle()
        zeros = self._zeros
        columns = [self._columns.get(j, zeros[:, j]).to(zeros) for j in range(zeros.shape[1])]
        return torch.stack(columns, 1)

    def scale(self) -> Tensor:
        """Return the scales of the contributions (N, J), NaN of samples not measured."""
        return self._scale

    def _reduce(self, waiting: dict[int, Tensor]) -> None:
        if waiting:
            stacked = torch.stack(list(waiting.values()), 1)  # (N, columns, numbers)
            norms = squared_norms(stacked.flatten(0, 1)).view(-1, len(waiting))
            self._columns.update(zip(waiting, norms.unbind(1), strict=True))

    def _hold(self, j: int, contribution: Contribution) -> None:
        self._doubtful[j] = contribution
        self._held += contribution.nbytes
        if self._held > budget(contribution.device):
            self._settle()

    def _settle(self) -> None:
        """Compute anew what has lost its digits among the norms that are held."""
        held, self._doubtful, self._held = self._doubtful, {}, 0
        if held:
            lost = torch.stack([self._columns[j].to(self._zeros) for j in held]).isnan()
            if lost.any():
                for j, contribution in itertools.compress(held.items(), lost.any(1).tolist()):
                    self._columns[j] = contribution.settled(self._columns[j])


def _stacked(row: Squares, zeros: Sequence[Tensor]) -> Tensor:
    """Return the squared norms of one sample, (J,), in one call."""
    pairs = zip(row, zeros, strict=True)
    return torch.stack([zero if x is None else x.to(zero) for x, zero in pairs])
