"""What a convolution's weight meets: windows of its inputs, one for each kernel offset.

At kernel offset k the gradient is the sum over positions p of g[p] x[stride p + t], with
t = dilation k - padding.
"""

import itertools
from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, Self

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import products, widened
from fimetric.gradients.contributions.factors import Factors


class Geometry(NamedTuple):
    """How a kernel moves, per axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


class Windows(Factors):
    """Gradients (N, O, I, *kernel) in output gradients and patches.

    Arguments:
        x: inputs, (N, R, I, *size), R images to a sample.
        g: output gradients, (N, R, O, *positions).
        shape: of the weight, (O, I, *kernel).
        geometry: stride, padding and dilation per axis.
    """

    def __init__(self, x: Tensor, g: Tensor, shape: torch.Size, geometry: Geometry) -> None:
        self.x, self.g, self.shape, self.geometry = x.detach(), g.detach(), shape, geometry

    @property
    def positions(self) -> int:
        """The number of positions T of all images of a sample, without writing out the patches."""
        return self.g.shape[1] * self.g.shape[3:].numel()

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.x.device

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return self.x.nbytes + self.g.nbytes

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, samples: slice | Tensor) -> Self:
        return type(self)(self.x[samples], self.g[samples], self.shape, self.geometry)

    @property
    def u(self) -> Tensor:
        """Output gradients, (N, T, O)."""
        return flat(self.g).transpose(1, 2)

    @property
    def v(self) -> Tensor:
        """Patches, (N, T, I * kernel)."""
        return flat(torch.stack(list(self.windows(self.x)), 3).flatten(2, 3)).transpose(1, 2)

    def band(self, start: int, stop: int) -> Self:
        """Return the gradients of the output channels from ``start`` to ``stop``."""
        shape = torch.Size((stop - start, *self.shape[1:]))
        return type(self)(self.x, self.g[:, :, start:stop], shape, self.geometry)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, O, I, *kernel)."""
        g = flat(self.g)
        offsets = [products(g, flat(x).transpose(1, 2)) for x in self.windows(self.x)]
        return torch.stack(offsets, -1).reshape(len(self), *self.shape)

    def scale(self) -> Tensor:
        """Return the sum over positions of |output gradient| |patch|, (N,)."""
        pixels = widened(self.x).square().sum(2, keepdim=True)
        patches = flat(torch.stack(list(self.windows(pixels))).sum(0)).squeeze(1)
        return (patches.sqrt() * widened(flat(self.g)).square().sum(1).sqrt()).sum(1)

    @abstractmethod
    def quick_norms(self) -> Tensor:
        """Return the squared norms, (N,), in the form that is cheapest."""

    def windows(self, x: Tensor) -> Iterator[Tensor]:
        """Yield, for each kernel offset, a view of what meets the positions, (N, R, C, *T)."""
        stride, padding, dilation = self.geometry
        kernel, positions = self.shape[2:], self.g.shape[3:]
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        needed = [s * (P - 1) + r for s, P, r in zip(stride, positions, reach, strict=True)]
        sizes = zip(padding, needed, x.shape[3:], strict=True)
        x = pad(x, [(p, n - size - p) for p, n, size in sizes])
        for offset in itertools.product(*map(range, kernel)):
            starts = [k * d for k, d in zip(offset, dilation, strict=True)]
            yield _window(x, starts, positions, stride)


def flat(x: Tensor) -> Tensor:
    """(N, R, C, *size) -> (N, C, R * size)."""
    return x.transpose(1, 2).flatten(2)


def _window(x: Tensor, starts: list[int], positions: torch.Size, stride: tuple[int, ...]) -> Tensor:
    for axis, (start, P, s) in enumerate(zip(starts, positions, stride, strict=True), start=3):
        x = x[(slice(None),) * axis + (slice(start, start + s * (P - 1) + 1, s),)]
    return x


def pad(x: Tensor, margins: list[tuple[int, int]]) -> Tensor:
    """Return ``x`` with zeros before and after each of its last axes; negative widths cut."""
    widths = [width for pair in reversed(margins) for width in pair]
    return torch.nn.functional.pad(x, widths) if any(widths) else x
