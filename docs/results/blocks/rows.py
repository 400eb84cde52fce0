"""Outliers made of rows of a table (N, columns)."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from fimetric.benchmark.variants import others

Made = Callable[[Tensor, Generator], Tensor]
NEIGHBOURS = 5


def all_mixed(x: Tensor, generator: Generator) -> Tensor:
    """Take each column of another row."""
    return torch.stack([others(column, generator) for column in x.T], 1)


def half_mixed(x: Tensor, generator: Generator) -> Tensor:
    """Take half of the columns of one other row."""
    chosen = torch.rand(x.shape, generator=generator).argsort(1) < max(1, x.shape[1] // 2)
    return torch.where(chosen, others(x, generator), x)


def one_mixed(x: Tensor, generator: Generator) -> Tensor:
    """Take one column of another row."""
    chosen = torch.rand(x.shape, generator=generator).argsort(1) == 0
    return torch.where(chosen, others(x, generator), x)


def shrunk(x: Tensor, generator: Generator) -> Tensor:
    """Go half-way to the mean of all rows."""
    return (x + x.mean(0)) / 2


def averaged(x: Tensor, generator: Generator) -> Tensor:
    """Take the mean of each row and another."""
    return (x + others(x, generator)) / 2


def smoothed(x: Tensor, generator: Generator) -> Tensor:
    """Take the mean of the nearest rows, in deviations of the columns, each row among them."""
    z = (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
    nearest = torch.cdist(z, z).topk(min(NEIGHBOURS, len(x)), largest=False).indices
    return x[nearest].mean(1)


BROKEN: dict[str, Made] = {
    "columns of others": all_mixed,
    "half of another": half_mixed,
    "one column of another": one_mixed,
}
LIKELY: dict[str, Made] = {
    "half-way to the mean": shrunk,
    "mean of two": averaged,
    "mean of the nearest": smoothed,
}
