"""Gradients that fall into G matrices side by side: groups of channels, batched products."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import Contribution
from fimetric.gradients.contributions.dense import Dense


class Blocks(Contribution):
    """Gradients (N, *shape) whose entries are those of N * G contributions, G to a sample."""

    def __init__(self, blocks: Contribution, samples: int, shape: torch.Size) -> None:
        self.blocks, self.samples, self.shape = blocks, samples, shape

    @property
    def positions(self) -> int:
        """The number of positions T, which all matrices have in common."""
        return self.blocks.positions

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.blocks.device

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return self.blocks.nbytes

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, samples: slice | Tensor) -> "Blocks":
        G = len(self.blocks) // self.samples
        index = torch.arange(len(self.blocks), device=self.device).view(-1, G)[samples]
        return Blocks(self.blocks[index.flatten()], len(index), self.shape)

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""
        return self.blocks.dense().reshape(self.samples, *self.shape)

    def scale(self) -> Tensor:
        """Return an upper bound of the norms before cancellation, (N,)."""
        return self.blocks.scale().view(self.samples, -1).sum(1)

    def transposed(self) -> "Contribution":
        """Return the gradients of the transposed matrix."""
        return Dense(self.dense(), self.scale()).transposed()

    def quick_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,)."""
        return self.blocks.quick_norms().view(self.samples, -1).sum(1)


class Stack(Contribution):
    """Gradients whose slices along the first axis are contributions of their own."""

    def __init__(self, slices: Sequence[Contribution]) -> None:
        self.slices = slices
        self.shape = torch.Size((len(slices), *slices[0].shape))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.slices[0].device

    @property
    def nbytes(self) -> int:
        """How much memory its tensors take."""
        return sum(part.nbytes for part in self.slices)

    def __len__(self) -> int:
        return len(self.slices[0])

    def __getitem__(self, samples: slice | Tensor) -> "Stack":
        return Stack([part[samples] for part in self.slices])

    def dense(self) -> Tensor:
        """Return the gradients themselves, (N, *shape)."""
        return torch.stack([part.dense() for part in self.slices], 1)

    def scale(self) -> Tensor:
        """Return an upper bound of the norms before cancellation, (N,)."""
        return torch.stack([part.scale() for part in self.slices]).sum(0)

    def transposed(self) -> "Stack":
        """Return the gradients of the transposed matrices."""
        return Stack([part.transposed() for part in self.slices])

    def quick_norms(self) -> Tensor:
        """Return the squared Euclidean norms, (N,)."""
        return torch.stack([part.quick_norms() for part in self.slices]).sum(0)
