"""A few samples that stand for a stream, whatever its order and however it is cut into batches."""

import heapq
import itertools

import numpy as np
import torch

from fimetric.data.batch import Input
from fimetric.objectives.base import values_of
from fimetric.typing import Array

ROWS = 4
MIXED = 997.0  # turns of a projection that part samples which are nearly alike


class Reference:
    """Keeps the samples with the smallest hash of their content, in memory alone.

    So they are the same ones in every order, and as good as drawn at random.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[float, int, Input]] = []  # a heap, the largest hash first
        self._number = itertools.count()

    def see(self, batch: Input) -> None:
        """Take a batch into account."""
        for row, key in enumerate(_keys(batch)):
            if len(self._kept) == ROWS and key >= -self._kept[0][0]:
                continue
            if any(-kept == key for kept, _, _ in self._kept):
                continue  # the same sample once more
            heapq.heappush(self._kept, (-key, next(self._number), cut(batch, row, row + 1)))
            if len(self._kept) > ROWS:
                heapq.heappop(self._kept)

    def rows(self) -> list[Input]:
        """Return the samples kept, each a batch of one, in an order of their own."""
        return [batch for _, _, batch in sorted(self._kept, key=lambda kept: -kept[0])]


def cut(batch: Input, start: int, stop: int) -> Input:
    """Return some samples of a batch."""
    if isinstance(batch, dict):
        return {key: x[start:stop] for key, x in batch.items()}
    return batch[start:stop]


def _keys(batch: Input) -> list[float]:
    """Return a hash in [0, 1) of each sample; zeros behind a sample do not change it."""
    total: Array = np.zeros(len(values_of(batch)[0]))
    for x in values_of(batch):
        flat = torch.view_as_real(x) if x.is_complex() else x
        flat = flat.detach().reshape(len(x), -1).double().cpu()
        weights = np.random.default_rng(0).random(flat.shape[1])
        total += (flat * torch.from_numpy(weights)).sum(1).numpy()
    return list(np.round(total * MIXED % 1.0, 6))
