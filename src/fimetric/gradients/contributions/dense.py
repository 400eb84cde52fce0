"""Gradients that are written out, or are a plain sum still to be carried out."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import Contribution, squared_norms, wide, widened


class Dense(Contribution):
    """Gradients written out: ``values`` (N, *shape)."""

    def __init__(self, values: Tensor, scale: Tensor | None = None) -> None:
        self._values = values
        self._scale = scale
        self.shape = values.shape[1:]

    @property
    def values(self) -> Tensor:
        """The gradients, (N, *shape)."""
        return self._values

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._values.device

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, samples: slice | Tensor) -> "Dense":
        return Dense(self.values[samples], None if self._scale is None else self._scale[samples])

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return self._values.nbytes

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""
        return self.values

    def scale(self) -> Tensor:
        """Return an upper bound of the norms before cancellation, (N,)."""
        return squared_norms(self.values).sqrt() if self._scale is None else self._scale

    def transposed(self) -> "Dense":
        """Return the gradients of the transposed matrix."""
        return Dense(self.values.transpose(-2, -1), self._scale)

    def bands(self, count: int) -> Sequence["Dense"]:
        """Cut the tensor into about ``count`` bands of rows."""
        return [self] if count <= 1 else [Dense(band) for band in self.values.chunk(count, 1)]


class Sum(Dense):
    """A dense gradient that is a plain sum of ``terms`` over ``dims``, not yet carried out.

    Arguments:
        terms: (N, ...).
        dims: axes of ``terms`` to sum over, in the order in which they number the positions.
        shape: of the parameter.
        sizes: a sum of the same shape with what the terms were before they cancelled themselves.
    """

    def __init__(
        self,
        terms: Tensor,
        dims: tuple[int, ...],
        shape: Sequence[int],
        sizes: Callable[[], Contribution | None] | None = None,
    ) -> None:
        self.terms, self.dims, self.shape = terms, dims, torch.Size(shape)
        self._sizes = sizes

    @property
    def positions(self) -> int:
        """The number of positions T, whose terms are summed."""
        return math.prod(self.terms.shape[dim] for dim in self.dims)

    @property
    def values(self) -> Tensor:
        """The gradients, (N, *shape)."""
        kind, terms = wide(self.terms.dtype), self.terms
        summed = terms.sum(self.dims, dtype=kind) if self.dims else terms.to(kind)
        return summed.reshape(len(terms), *self.shape)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.terms.device

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return self.terms.nbytes

    def __len__(self) -> int:
        return len(self.terms)

    def __getitem__(self, samples: slice | Tensor) -> "Sum":
        sizes = self._sizes
        of_some = None if sizes is None else lambda: _some(sizes(), samples)
        return Sum(self.terms[samples], self.dims, self.shape, of_some)

    def scale(self) -> Tensor:
        """Return the sum of the norms of the terms, (N,)."""
        sizes = None if self._sizes is None else self._sizes()
        if sizes is not None:
            return sizes.scale()
        kept = tuple(d for d in range(1, self.terms.dim()) if d not in self.dims)
        terms = widened(self.terms)
        norms = torch.linalg.vector_norm(terms, dim=kept) if kept else terms.abs()
        return norms.flatten(1).sum(1) if norms.dim() > 1 else norms

    def transposed(self) -> "Dense":
        """Return the gradients of the transposed matrix."""
        return Dense(self.values.transpose(-2, -1), self.scale())


def _some(contribution: Contribution | None, samples: slice | Tensor) -> Contribution | None:
    return None if contribution is None else contribution[samples]
