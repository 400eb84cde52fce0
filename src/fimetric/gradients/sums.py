"""Gradients accumulated over several graphs, as of the windows of a text too long for one.

The norm of a sum does not follow from the norms of its terms, so what is added up are the samples'
gradients themselves, written out.
"""

from collections.abc import Iterable

from torch import Tensor

from fimetric.gradients.checks import refuse_losses
from fimetric.gradients.contributions import Contribution, Dense
from fimetric.gradients.contributions.base import bytes_of_one, widened
from fimetric.gradients.engine import Engine

HELD = 1 << 26  # bytes of a term that are written out at a time, or one sample's gradient


class Accumulated:
    """Adds contributions to each sample's gradients.

    Arguments:
        engine: what reads the graphs.
        first: losses (N,) of the first graph.
    """

    def __init__(self, engine: Engine, first: Tensor) -> None:
        self._engine, self._samples = engine, len(first)
        self._table = engine.zeros(first, len(first), len(engine.parameters))
        self._totals: dict[int, Tensor] = {}

    def add(self, losses: Tensor) -> None:
        """Add the gradients of the losses (N,) of one graph.

        Raises:
            ValueError: where there are more or fewer of them than in the first graph.
        """
        if len(losses) != self._samples:
            raise ValueError(
                f"every window must have a loss for each of the {self._samples} samples of the "
                f"first, zero where a sample has ended; got {len(losses)}"
            )
        self._engine.read(losses, self._take, retain_graph=False)

    def _take(self, j: int, contribution: Contribution) -> None:
        if j not in self._totals:
            like = widened(self._engine.parameters[j].detach())
            self._totals[j] = like.new_zeros(self._samples, *like.shape)
        total = self._totals[j]
        step = max(1, HELD // bytes_of_one(contribution))
        for start in range(0, self._samples, step):
            some = slice(start, start + step)
            total[some] += contribution[some].dense().reshape(total[some].shape)

    def table(self) -> Tensor:
        """Return the squared norms of what was added up, (N, J)."""
        for j, total in self._totals.items():
            self._table[:, j] = Dense(total).squared_norms()
        return self._table


def accumulated(engine: Engine, windows: Iterable[Tensor]) -> Tensor:
    """Return the squared norms of the gradients' sums over graphs of losses (N,), (N, J).

    Raises:
        ValueError: where there is no graph, or one has another number of losses.
    """
    total: Accumulated | None = None
    for losses in windows:
        refuse_losses(losses)
        total = Accumulated(engine, losses) if total is None else total
        total.add(losses)
    if total is None:
        raise ValueError("there is no window: pass the losses (N,) of at least one")
    return total.table()
