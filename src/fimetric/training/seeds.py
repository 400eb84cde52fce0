"""Randomness as a function of a key, so that any step of a run can be repeated by itself."""

import numpy as np
import torch
from torch import Generator, Tensor


def number(*key: int) -> int:
    """Return a seed of 63 bits made from a key of non-negative integers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def order(seed: int, epoch: int, n: int) -> Tensor:
    """Return the order (n,) of n samples in an epoch."""
    return torch.randperm(n, generator=Generator().manual_seed(number(seed, epoch, 3)))


def indices(seed: int, step: int, batch_size: int, n: int) -> Tensor:
    """Return the samples (B,) of a step: places s B to s B + B - 1 of all epochs end to end.

    >>> sorted(torch.cat([indices(0, step, 4, 12) for step in range(3)]).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    """
    start, stop = step * batch_size, (step + 1) * batch_size
    first, last = start // n, (stop - 1) // n
    places = torch.cat([order(seed, epoch, n) for epoch in range(first, last + 1)])
    return places[start - first * n : stop - first * n]
