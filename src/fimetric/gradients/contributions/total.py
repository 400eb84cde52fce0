"""The sum of several contributions to one tensor."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import Contribution
from fimetric.gradients.contributions.costs import gram_is_cheaper
from fimetric.gradients.contributions.factors import Factors, Rows
from fimetric.gradients.contributions.gram import norms_by_gram


class Total(Contribution):
    """The sum of contributions of different kinds, written out for some samples at a time."""

    def __init__(self, parts: Sequence[Contribution]) -> None:
        self.parts, self.shape = parts, parts[0].shape

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.parts[0].device

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return sum(part.nbytes for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, samples: slice | Tensor) -> "Total":
        return Total([part[samples] for part in self.parts])

    def bands(self, count: int) -> Iterable[Contribution]:
        """Cut the matrix into about ``count`` bands of rows, where all parts can be cut."""
        if not all(isinstance(part, Factors) and part.shape == self.shape for part in self.parts):
            return [self]
        return map(Total, zip(*(part.bands(count) for part in self.parts), strict=True))

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""
        total = self.parts[0].dense()
        for part in self.parts[1:]:
            total = total + part.dense().reshape(total.shape)
        return total

    def scale(self) -> Tensor:
        """Return the sum of the parts' scales, (N,)."""
        return torch.stack([part.scale() for part in self.parts]).sum(0)

    def transposed(self) -> "Total":
        """Return the gradients of the transposed matrix."""
        return Total([part.transposed() for part in self.parts])

    def quick_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,)."""
        if all(type(part) in (Factors, Rows) for part in self.parts):
            T = sum(part.positions for part in self.parts if isinstance(part, Factors))
            if gram_is_cheaper(len(self), T, *self.shape):
                return norms_by_gram(self, lambda chosen: chosen.parts)
        return super().quick_norms()


def add(parts: Sequence[Contribution]) -> Contribution:
    """Return the sum of contributions to one tensor; plain factors are joined along T."""
    plain = [part for part in parts if type(part) is Factors]
    if len(plain) > 1:
        u, v = torch.cat([f.u for f in plain], 1), torch.cat([f.v for f in plain], 1)
        joined = Factors(u, v, [f.positions for f in plain])
        parts = [joined, *(part for part in parts if type(part) is not Factors)]
    return parts[0] if len(parts) == 1 else Total(parts)
