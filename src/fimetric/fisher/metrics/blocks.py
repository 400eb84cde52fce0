"""Blocks of F, one to a tensor, and the norms of gradients in their metric.

f_j = g_j^T F_j^-1 g_j
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import TypeVar, cast

import torch
from torch import Tensor

from fimetric.fisher.metrics.reference import Layer, contributions
from fimetric.gradients import Contribution, Dense, Factors, GradientNorms
from fimetric.gradients.contributions import widened
from fimetric.gradients.contributions.base import budget, in_chunks
from fimetric.gradients.engine import Measured

logger = logging.getLogger(__name__)


class Block(ABC):
    """One tensor's block of F, inverted.

    ``noise`` is the mean of the eigenvalues of F^-1: by how much rounding noise that is spread
    evenly over the entries grows.
    """

    noise: float

    @abstractmethod
    def squared_norms(self, contribution: Contribution) -> Tensor:
        """Return g^T F^-1 g for the gradients of N samples, (N,)."""


class Zero(Block):
    """A tensor without a gradient: noise over noise would look like a layer among others."""

    noise = 0.0

    def squared_norms(self, contribution: Contribution) -> Tensor:
        """Return exact zeros, (N,); nan where a gradient is not finite."""
        return contribution.squared_norms() * 0


class Scaled(Block):
    """F = c I."""

    def __init__(self, c: float) -> None:
        self.c, self.noise = c, 1 / c

    def squared_norms(self, contribution: Contribution) -> Tensor:
        """Return |g|^2 / c, (N,)."""
        return contribution.squared_norms() / self.c


class Weighted(Block):
    """F = diag(F_aa), F (*shape), perhaps after a turn by an orthogonal matrix on either side.

    Arguments:
        F: (*shape), or (O, I) of the turned matrices.
        damping: share of a simpler F that is mixed in, for the record.
        left, right: what ``turned`` takes.
    """

    def __init__(
        self,
        F: Tensor,
        damping: float,
        left: Tensor | None = None,
        right: Tensor | None = None,
    ) -> None:
        self.F, self.damping, self.left, self.right = F, damping, left, right
        self.noise = float(F.double().reciprocal().mean())

    def squared_norms(self, contribution: Contribution) -> Tensor:
        """Return sum_a g_a^2 / F_aa, (N,)."""

        def norms(part: Contribution) -> Tensor:
            squares = square(turned(part, self.left, self.right).dense())
            return (squares / self.F).flatten(1).sum(1)

        return in_chunks(contribution, norms, bytes_per_sample(contribution))


class Factored(Block):
    """F = A kron B: |B^-1/2 G A^-1/2|^2 for gradients G (O, I), by whitening their factors.

    Arguments:
        left, right: what B^-1/2 and A^-1/2 are but for an orthogonal factor, as ``turned`` takes
            them.
        damping: share of the mean eigenvalue that is mixed in, for the record.
        noise: mean eigenvalue of F^-1.
    """

    def __init__(self, left: Tensor, right: Tensor, damping: float, noise: float) -> None:
        self.left, self.right, self.damping, self.noise = left, right, damping, noise

    def squared_norms(self, contribution: Contribution) -> Tensor:
        """Return |B^-1/2 G A^-1/2|^2, (N,)."""
        return in_chunks(
            contribution,
            lambda part: turned(part, self.left, self.right).squared_norms(),
            bytes_per_sample(contribution),
        )


class LayerNorms:
    """Whitened norms of one view, a column to a tensor.

    Arguments:
        norms: reads gradients.
        layers: all tensors, in the order of ``norms.names``.
        blocks: of the tensors that have a gradient.
        prefix: the view, for the log.
    """

    def __init__(
        self,
        norms: GradientNorms,
        layers: dict[str, Layer],
        blocks: dict[str, Block],
        prefix: str = "",
    ) -> None:
        self._norms = norms
        self.blocks = {name: blocks.get(name, Zero()) for name in layers}
        self.names = list(layers)
        self.numels = [layer.numel for layer in layers.values()]
        log_dead(layers, prefix)

    def __call__(self, losses: Tensor, retain_graph: bool = False) -> Tensor:
        """Return (N, J) squared norms."""
        with torch.no_grad():
            found = contributions(self._norms, losses, retain_graph)
            return side_by_side([self.blocks[name].squared_norms(g) for name, g in found])

    def measure(self, losses: Tensor) -> Measured:
        """Return the same with bounds on their rounding noise; the graph is kept."""
        bound = self._norms.measure(losses).bound
        table = self(losses, retain_graph=True)
        noise = [block.noise for block in self.blocks.values()]
        return Measured(table, (bound.double() * bound.new_tensor(noise).double()).to(table))


def log_dead(layers: dict[str, Layer], prefix: str = "") -> None:
    """Name the tensors without a gradient in the log."""
    dead = [name for name, layer in layers.items() if not layer.live]
    if dead:
        logger.info(
            "%d of %d layers have no gradient above rounding noise on the reference samples%s, "
            "and a norm of zero: %s",
            len(dead),
            len(layers),
            f" (view {prefix})" if prefix else "",
            ", ".join(dead),
        )


def side_by_side(columns: list[Tensor]) -> Tensor:
    """Return K columns (N,) as a table (N, K), in the widest of their formats."""
    kind = widest(column.dtype for column in columns)
    return torch.stack([column.to(kind) for column in columns], 1)


def widest(kinds: Iterable[torch.dtype]) -> torch.dtype:
    """Return the widest of some formats, float32 at least."""
    return reduce(torch.promote_types, kinds, torch.float32)


def turned(contribution: Contribution, left: Tensor | None, right: Tensor | None) -> Contribution:
    """Return the gradients L^T G R of matrices G (O, I), in factors where that is cheaper.

    A kernel (O, I, k, k) counts as a matrix (O, I k k).

    Arguments:
        contribution: of N samples.
        left, right: L (O, O') and R (I, I'), or their diagonals (O,) and (I,), or None for no turn.
    """
    if left is None or right is None:
        return contribution
    if isinstance(contribution, Factors) and factors_are_cheaper(contribution, left, right):
        u, v = widened(contribution.u), widened(contribution.v)
        return Factors(_times(u, left), _times(v, right))
    matrices = widened(contribution.dense()).flatten(2)
    return Dense(_times(_times(matrices, right).mT, left).mT)


def _times(x: Tensor, turn: Tensor) -> Tensor:
    return x @ turn if turn.dim() == 2 else x * turn


def factors_are_cheaper(factors: Factors, left: Tensor, right: Tensor) -> bool:
    """Return whether T pairs of vectors are turned with fewer multiplications than a matrix."""
    O, I, T = factors.shape[0], factors.shape[1:].numel(), factors.positions
    to_left, to_right = (turn.numel() / len(turn) for turn in (left, right))
    of_factors = T * (O * to_left + I * to_right) + min(T * O * I, T * T * (O + I))
    return of_factors < T * O * I + O * I * (to_left + to_right)


def bytes_per_sample(contribution: Contribution) -> int:
    """Return what one sample's gradient takes, written out or in factors."""
    whole = contribution.shape.numel()
    if isinstance(contribution, Factors):
        O, I = contribution.shape[0], contribution.shape[1:].numel()
        whole = max(whole, contribution.positions * (O + I))
    return 4 * whole


Some = TypeVar("Some", bound=Contribution)


def slices(contribution: Some, size: int) -> Iterator[tuple[slice, Some]]:
    """Yield a contribution some samples at a time, each of ``size`` bytes."""
    step = max(1, budget(contribution.device) // max(size, 1))
    for start in range(0, len(contribution), step):
        rows = slice(start, start + step)
        yield rows, cast(Some, contribution[rows])


def square(x: Tensor) -> Tensor:
    """Return the squared sizes of entries, of complex ones too."""
    if x.is_complex():
        return torch.view_as_real(x).square().sum(-1)
    return widened(x).square()
