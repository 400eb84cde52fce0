"""Dimensions in another order."""

import torch
from torch import Tensor

from fimetric.fisher.representations.base import Changed, Representation


class Permutation(Representation):
    """Creates a random permutation of the dimensions of a sample, the same for all samples.

    Arguments:
        seed: of the permutation.
    """

    name = "permutation"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def _order(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(x[0].numel(), generator=generator).to(x.device)

    def forward(self, x: Tensor, untouched: Tensor | None = None) -> Changed:
        """Return y and log |det|, which is 0."""
        y = x.flatten(1)[:, self._order(x)].reshape(x.shape)
        return Changed(y, x.new_zeros(len(x)))

    def inverse(self, y: Tensor, untouched: Tensor | None = None) -> Tensor:
        """Return x of y."""
        return y.flatten(1)[:, self._order(y).argsort()].reshape(y.shape)

    def extra_repr(self) -> str:
        """Return the seed."""
        return f"seed={self.seed}"
