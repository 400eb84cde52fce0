"""What each sample adds to the gradient of one parameter, dense or in factors.

The gradient of a linear map with respect to its weight is a sum over positions of outer products,
sum_t u_t v_t^T. Its norm costs less than the matrix itself, so contributions stay in that form for
as long as possible. All of them are sliced by samples (``contribution[a:b]``), so that the memory
of what follows can be bounded.

Letters: N samples, T positions, O and I the two sides of a weight matrix.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK_BYTES = 1 << 26  # temporaries are cut into chunks of samples of about this size


class Contribution(ABC):
    """Per-sample gradients of one tensor of shape ``shape``."""

    shape: torch.Size

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples N."""

    @abstractmethod
    def __getitem__(self, samples: slice) -> "Contribution":
        """Return the gradients of some samples."""

    @abstractmethod
    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""

    @abstractmethod
    def scale(self) -> Tensor:
        """Return an upper bound of the norms from the norms of the terms that were added, (N,).

        Rounding errors of the sum are proportional to it, so it tells a gradient that cancels to
        zero from one that is merely small.
        """

    @abstractmethod
    def transposed(self) -> "Contribution":
        """Return the gradients of the transposed matrix."""

    def squared_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,)."""
        return by_chunks(self, lambda part: squared_norms(part.dense()))

    def gram(self) -> Tensor:
        """Return the inner products between the samples' gradients, (N, N)."""
        dense = self.dense()
        flat = dense.reshape(len(dense), math.prod(self.shape))
        return flat @ flat.mH


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

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, samples: slice) -> "Dense":
        return Dense(self.values[samples], None if self._scale is None else self._scale[samples])

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""
        return self.values

    def scale(self) -> Tensor:
        """Return an upper bound of the norms before cancellation, (N,)."""
        return squared_norms(self.values).sqrt() if self._scale is None else self._scale

    def transposed(self) -> "Dense":
        """Return the gradients of the transposed matrix."""
        return Dense(self.values.transpose(1, 2), self._scale)

    def squared_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,)."""
        return squared_norms(self.values)


class Sum(Dense):
    """A dense gradient that is a plain sum of ``terms`` over ``dims``, not yet carried out."""

    def __init__(self, terms: Tensor, dims: tuple[int, ...], shape: Sequence[int]) -> None:
        self.terms, self.dims, self.shape = terms, dims, torch.Size(shape)

    @property
    def values(self) -> Tensor:
        """The gradients, (N, *shape)."""
        terms = widened(self.terms)
        summed = terms.sum(self.dims) if self.dims else terms
        return summed.reshape(len(terms), *self.shape)

    def __len__(self) -> int:
        return len(self.terms)

    def __getitem__(self, samples: slice) -> "Sum":
        return Sum(self.terms[samples], self.dims, self.shape)

    def scale(self) -> Tensor:
        """Return the sum of the norms of the terms, (N,)."""
        kept = tuple(d for d in range(1, self.terms.dim()) if d not in self.dims)
        terms = widened(self.terms)
        norms = torch.linalg.vector_norm(terms, dim=kept) if kept else terms.abs()
        return norms.flatten(1).sum(1) if norms.dim() > 1 else norms

    def transposed(self) -> "Dense":
        """Return the gradients of the transposed matrix."""
        return Dense(self.values.transpose(1, 2), self.scale())


class Factors(Contribution):
    """Gradients of a matrix in factors: sum_t u_t v_t^T, ``u`` (N, T, O) and ``v`` (N, T, I)."""

    def __init__(self, u: Tensor, v: Tensor) -> None:
        self._u, self._v = u, v
        self.shape = torch.Size((u.shape[2], v.shape[2]))

    @property
    def u(self) -> Tensor:
        """Left factors, (N, T, O)."""
        return self._u

    @property
    def v(self) -> Tensor:
        """Right factors, (N, T, I)."""
        return self._v

    def __len__(self) -> int:
        return len(self._v)

    def __getitem__(self, samples: slice) -> "Factors":
        return Factors(self._u[samples], self._v[samples])

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""
        u, v = widened(self.u), widened(self.v)
        return (u.transpose(1, 2) @ v).reshape(len(self), *self.shape)

    def scale(self) -> Tensor:
        """Return sum_t |u_t| |v_t|, (N,)."""
        norm = torch.linalg.vector_norm
        return (norm(widened(self.u), dim=2) * norm(widened(self.v), dim=2)).sum(1)

    def transposed(self) -> "Factors":
        """Return the gradients of the transposed matrix."""
        return Factors(self.v, self.u)

    def squared_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,), by whichever form is cheaper."""
        T = self.v.shape[1]
        if T == 1:
            return squared_norms(self.u) * squared_norms(self.v)
        if gram_is_cheaper(T, *self.shape):
            return squared_norms_by_gram(self, T)
        return super().squared_norms()


def gram_is_cheaper(T: int, O: int, I: int) -> bool:
    """Return whether two T x T Gram matrices in float64 cost less than the O x I matrix."""
    return 4 * T * (O + I) < O * I


def squared_norms_by_gram(factors: Factors, T: int) -> Tensor:
    """Return |sum_t u_t v_t^T|^2 = <U U^T, V V^T>, (N,)."""
    return by_chunks(factors, _inner_gram, 8 * T * (T + sum(factors.shape)))


def _inner_gram(factors: Factors) -> Tensor:
    """Work in float64: in float32 cancelling terms lose 5%."""
    u, v = factors.u.double(), factors.v.double()
    products = (u @ u.transpose(1, 2)) * (v @ v.transpose(1, 2))
    # Rounding can leave a vanishing norm slightly below zero.
    return products.sum((1, 2)).clamp_min(0).to(widened(factors.v[:0]).dtype)


class Rows(Factors):
    """Gradients of an embedding: ``v`` (N, T, I) is added to the rows ``index`` (N, T)."""

    def __init__(self, index: Tensor, v: Tensor, rows: int) -> None:
        self.index, self._v, self.rows = index, v, rows
        self.shape = torch.Size((rows, v.shape[2]))

    @property
    def u(self) -> Tensor:
        """Left factors, one-hot, (N, T, rows)."""
        zeros = self._v.new_zeros(*self.index.shape, self.rows)
        return zeros.scatter_(2, self.index.unsqueeze(2), 1)

    def __getitem__(self, samples: slice) -> "Rows":
        return Rows(self.index[samples], self._v[samples], self.rows)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, rows, I)."""
        v = widened(self._v)
        values = v.new_zeros(len(v), *self.shape)
        return values.scatter_add_(1, self.index.unsqueeze(2).expand_as(v), v)

    def scale(self) -> Tensor:
        """Return sum_t |v_t|, (N,)."""
        return torch.linalg.vector_norm(widened(self._v), dim=2).sum(1)

    def squared_norms(self) -> Tensor:
        """Return the squared norms, (N,); rows that a sample uses twice are added first."""
        v = widened(self._v)
        samples = torch.arange(len(v), device=v.device).unsqueeze(1)
        used, place = (samples * self.rows + self.index).unique(return_inverse=True)
        summed = v.new_zeros(len(used), v.shape[2]).index_add_(0, place.flatten(), v.flatten(0, 1))
        owner = used.div(self.rows, rounding_mode="floor")
        return v.new_zeros(len(v)).index_add_(0, owner, squared_norms(summed))


class Total(Dense):
    """The sum of contributions of different kinds, written out for some samples at a time."""

    def __init__(self, parts: Sequence[Contribution]) -> None:
        self.parts, self.shape = parts, parts[0].shape

    @property
    def values(self) -> Tensor:
        """The gradients, (N, *shape)."""
        total = self.parts[0].dense()
        for part in self.parts[1:]:
            total = total + part.dense().reshape(total.shape)
        return total

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, samples: slice) -> "Total":
        return Total([part[samples] for part in self.parts])

    def scale(self) -> Tensor:
        """Return the sum of the parts' scales, (N,)."""
        return torch.stack([part.scale() for part in self.parts]).sum(0)

    def transposed(self) -> "Total":
        """Return the gradients of the transposed matrix."""
        return Total([part.transposed() for part in self.parts])

    def squared_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,)."""
        return by_chunks(self, lambda part: squared_norms(part.dense()))


def add(parts: Sequence[Contribution]) -> Contribution:
    """Return the sum of contributions to one tensor; plain factors are joined along T."""
    plain = [part for part in parts if type(part) is Factors]
    if len(plain) > 1:
        joined = Factors(torch.cat([f.u for f in plain], 1), torch.cat([f.v for f in plain], 1))
        parts = [joined, *(part for part in parts if type(part) is not Factors)]
    return parts[0] if len(parts) == 1 else Total(parts)


def widened(x: Tensor) -> Tensor:
    """Return ``x`` in float32 where it has fewer bits: sums are taken in float32 at least."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def squared_norms(x: Tensor) -> Tensor:
    """Return the squared Euclidean norm of each sample, (N, ...) -> (N,)."""
    x = torch.view_as_real(x) if x.is_complex() else widened(x)
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    return flat.square().sum(1)


def by_chunks(
    contribution: Contribution,
    function: Callable[..., Tensor],
    bytes_per_sample: int | None = None,
) -> Tensor:
    """Apply ``function`` to chunks of samples, so that its temporaries stay near CHUNK_BYTES."""
    size = bytes_per_sample or math.prod(contribution.shape) * 8
    step = max(1, CHUNK_BYTES // max(1, size))
    if step >= len(contribution):
        return function(contribution)
    starts = range(0, len(contribution), step)
    return torch.cat([function(contribution[a : a + step]) for a in starts])
