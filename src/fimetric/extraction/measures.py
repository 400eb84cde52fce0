"""What is measured of a gradient: its norms, or nothing."""

from typing import ClassVar, Protocol

from torch import Tensor

from fimetric.gradients.engine import Measured


class Norms(Protocol):
    """What is measured of a gradient: ``GradientNorms``, or norms in another metric."""

    @property
    def names(self) -> list[str]:
        """Names of the K columns."""
        ...

    def __call__(self, losses: Tensor) -> Tensor:
        """Return (N, K) squared norms of the gradients of losses (N,)."""
        ...

    def measure(self, losses: Tensor) -> Measured:
        """Return the same with bounds on their rounding noise; the graph is kept."""
        ...


class NoNorms:
    """What is measured of a gradient where none is taken."""

    names: ClassVar[list[str]] = []

    def __call__(self, losses: Tensor) -> Tensor:
        """Return no columns, (N, 0)."""
        return losses.detach().new_zeros(len(losses), 0)

    def measure(self, losses: Tensor) -> Measured:
        """Return the same, with bounds of nothing."""
        return Measured(self(losses), self(losses))
