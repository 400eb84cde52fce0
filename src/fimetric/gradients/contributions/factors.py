"""Gradients of a matrix as a sum of outer products, and of an embedding as rows."""

import itertools
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import (
    Contribution,
    products,
    squared_norms,
    wide,
    widened,
)
from fimetric.gradients.contributions.costs import gram_is_cheaper
from fimetric.gradients.contributions.gram import norms_by_gram


class Factors(Contribution):
    """Gradients of a matrix in factors: sum_t u_t v_t^T, ``u`` (N, T, O) and ``v`` (N, T, I).

    ``lengths`` holds the numbers of terms of several uses, whose terms follow one another.
    """

    lengths: tuple[int, ...] = ()

    def __init__(self, u: Tensor, v: Tensor, lengths: Sequence[int] = ()) -> None:
        self._u, self._v = u.detach(), v.detach()  # what is read off a graph carries it along
        self.shape, self.lengths = torch.Size((u.shape[2], v.shape[2])), tuple(lengths)

    @property
    def u(self) -> Tensor:
        """Left factors, (N, T, O)."""
        return self._u

    @property
    def v(self) -> Tensor:
        """Right factors, (N, T, I)."""
        return self._v

    @property
    def positions(self) -> int:
        """The number of terms T."""
        return self._v.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._v.device

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return self._u.nbytes + self._v.nbytes

    def __len__(self) -> int:
        return len(self._v)

    def __getitem__(self, samples: slice | Tensor) -> "Factors":
        return Factors(self._u[samples], self._v[samples], self.lengths)

    def at(self, positions: slice) -> "Factors":
        """Return some of the terms."""
        return Factors(self._u[:, positions], self._v[:, positions])

    def uses(self) -> list["Factors"]:
        """Return the terms of each use."""
        ends = itertools.accumulate(self.lengths)
        pairs = zip(self.lengths, ends, strict=True)
        return [self.at(slice(end - T, end)) for T, end in pairs] or [self]

    def bands(self, count: int) -> Iterable["Factors"]:
        """Cut the matrix into about ``count`` bands of rows."""
        if count <= 1:
            return [self]
        O = self.shape[0]
        height = math.ceil(O / count)
        return (self.band(start, min(O, start + height)) for start in range(0, O, height))

    def band(self, start: int, stop: int) -> "Factors":
        """Return the rows from ``start`` to ``stop`` of the matrix."""
        return Factors(self._u[:, :, start:stop], self._v)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""
        return products(self.u.transpose(1, 2), self.v)

    def scale(self) -> Tensor:
        """Return sum_t |u_t| |v_t|, (N,)."""
        norm = torch.linalg.vector_norm
        return (norm(widened(self.u), dim=2) * norm(widened(self.v), dim=2)).sum(1)

    def transposed(self) -> "Factors":
        """Return the gradients of the transposed matrix."""
        return Factors(self.v, self.u, self.lengths)

    def quick_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,), by whichever form is cheapest."""
        T = self.positions
        if T == 1 and self.device.type != "mps":  # which has no float64
            return (_norm(self.u) * _norm(self.v)).square().to(wide(self.v.dtype))
        if gram_is_cheaper(len(self), T, *self.shape):
            return norms_by_gram(self, lambda chosen: [chosen])
        return super().quick_norms()

    def left_gram(self, other: "Factors") -> Tensor:
        """Return the inner products of left factors, (N, T, S)."""
        if isinstance(other, Rows):
            return other.left_gram(self).transpose(1, 2)
        return products(self.u, other.u.transpose(1, 2))

    def right_gram(self, other: "Factors") -> Tensor:
        """Return the inner products of right factors, (N, T, S)."""
        return products(self._v, other._v.transpose(1, 2))


class Rows(Factors):
    """Gradients of an embedding: ``v`` (N, T, I) is added to the rows ``index`` (N, T)."""

    def __init__(self, index: Tensor, v: Tensor, rows: int) -> None:
        self.index, self._v, self.rows = index, v.detach(), rows
        self.shape = torch.Size((rows, v.shape[2]))

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return self.index.nbytes + self._v.nbytes

    @property
    def u(self) -> Tensor:
        """Left factors, one-hot, (N, T, rows)."""
        zeros = self._v.new_zeros(*self.index.shape, self.rows)
        return zeros.scatter_(2, self.index.unsqueeze(2), 1)

    def __getitem__(self, samples: slice | Tensor) -> "Rows":
        return Rows(self.index[samples], self._v[samples], self.rows)

    def at(self, positions: slice) -> "Rows":
        """Return some of the terms."""
        return Rows(self.index[:, positions], self._v[:, positions], self.rows)

    def band(self, start: int, stop: int) -> "Rows":
        """Return the rows from ``start`` to ``stop`` of the matrix, in the terms that use any."""
        inside = (self.index >= start) & (self.index < stop)
        used = inside.any(0)
        v = self._v[:, used].masked_fill(~inside[:, used].unsqueeze(2), 0)
        index = (self.index[:, used] - start).clamp(0, stop - start - 1)
        return Rows(index, v, stop - start)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, rows, I)."""
        v = widened(self._v)
        values = v.new_zeros(len(v), *self.shape)
        return values.scatter_add_(1, self.index.unsqueeze(2).expand_as(v), v)

    def scale(self) -> Tensor:
        """Return sum_t |v_t|, (N,)."""
        return torch.linalg.vector_norm(widened(self._v), dim=2).sum(1)

    def quick_norms(self) -> Tensor:
        """Return the squared norms, (N,); rows that a sample uses twice are added first."""
        summed, _ = self.added()
        return squared_norms(summed)

    def added(self) -> tuple[Tensor, Tensor]:
        """Return the rows that each sample uses, (N, T, I), each with all that is added to it and
        zeros after the last; and which of them each position uses, (N, T).
        """
        rows, order = self.index.sort(1)
        first = rows.diff(dim=1, prepend=rows[:, :1]) != 0
        place = torch.empty_like(order).scatter_(1, order, first.cumsum(1))
        v, samples = widened(self._v), torch.arange(len(rows), device=rows.device)
        flat = (place + samples.unsqueeze(1) * rows.shape[1]).flatten()
        summed = v.new_zeros(flat.numel(), v.shape[2]).index_add_(0, flat, v.flatten(0, 1))
        return summed.view(v.shape), place

    def left_gram(self, other: Factors) -> Tensor:
        """Return the inner products of left factors, (N, T, S): an entry of the other's each."""
        if isinstance(other, Rows):
            same = self.index.unsqueeze(2) == other.index.unsqueeze(1)
            return same.to(wide(self._v.dtype))
        index = self.index.unsqueeze(1).expand(-1, other.positions, -1)
        return widened(other.u.gather(2, index)).transpose(1, 2)


def _norm(x: Tensor) -> Tensor:
    """Return the norm of each sample, (N,), in float64, whose range holds any square of float32."""
    return torch.linalg.vector_norm(x, dim=(1, 2), dtype=torch.float64)
