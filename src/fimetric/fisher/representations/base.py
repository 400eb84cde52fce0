"""What every change of representation is: a map, its log-determinant, its inverse."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn


class Changed(NamedTuple):
    """Data in another representation."""

    y: Tensor  # (N, C, *)
    log_det: Tensor  # (N,) log |det dT/dx| in nats
    untouched: Tensor | None = None  # (N, *) pixels left as they are, True; None means none


class Representation(nn.Module, ABC):
    """An invertible map of each sample; it may have parameters of its own, and buffers."""

    name: ClassVar[str]
    """What it does, in words."""
    per_pixel: ClassVar[bool] = False
    """Whether every pixel is mapped by itself: the Jacobian then is block diagonal."""

    @abstractmethod
    def forward(self, x: Tensor, untouched: Tensor | None = None) -> Changed:
        """Return T(x) and its log-determinant.

        Arguments:
            x: (N, C, *), floating-point.
            untouched: (N, *) pixels to leave as they are; by default those where T is singular.

        Raises:
            ValueError: where x is outside the domain of T.
        """

    @abstractmethod
    def inverse(self, y: Tensor, untouched: Tensor | None = None) -> Tensor:
        """Return x (N, C, *) of y, and of the pixels that ``forward`` left as they were."""


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Return (C,) or (1,) values in the shape and number format of x (N, C, *).

    Raises:
        ValueError: for neither one value nor one per channel.
    """
    if len(values) not in (1, x.shape[1]):
        raise ValueError(f"{len(values)} values for data of {x.shape[1]} channels; give one each")
    return values.to(x).view(-1, *[1] * (x.dim() - 2))


def within(x: Tensor, low: float, high: float, name: str) -> None:
    """Refuse data that leave the domain of a map by more than rounding.

    Raises:
        ValueError: naming the map and both ranges.
    """
    if bool((x < low - 1e-6).any() | (x > high + 1e-6).any()):
        raise ValueError(
            f"{name} takes data in [{low:g}, {high:g}]; these lie in [{float(x.min()):g}, "
            f"{float(x.max()):g}]"
        )
