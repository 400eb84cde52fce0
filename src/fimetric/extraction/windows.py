"""Samples of different length, put together by length, so that little padding is computed.

Some batches are read ahead, their groups sorted by length and cut into batches anew; the rows come
back in the order of the data. What has no mask to be padded with, such as clips of sound, goes
together only where it is of one length. Data of one length stay as they are.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor

from fimetric.data.batch import Batch, join, trimmed
from fimetric.data.keys import MASK, TOKENS
from fimetric.features.table import Features

BATCHES = 16  # read ahead


def windows(batches: Iterable[Batch], samples: Callable[[], int]) -> Iterator[list[Batch]]:
    """Yield each batch by itself until one tells that lengths differ, then some at a time.

    Where these windows end depends on the data and the size alone, so a later call has the same.

    Arguments:
        batches: of some data, in their order.
        samples: tells how many belong together, once the first batch is there.
    """
    held: list[Batch] = []
    shape, ragged = None, False
    for batch in batches:
        found = _shape(batch)
        ragged = ragged or (shape or found) != found or is_padded(batch)
        shape = found
        held.append(batch)
        if not ragged or sum(map(len, held)) >= samples():
            yield held
            held = []
    if held:
        yield held


def sorted_batches(window: list[Batch], size: int, group: int) -> list[tuple[Batch, list[int]]]:
    """Return the groups of a window as batches by length, each with the numbers of its groups.

    Arguments:
        window: batches of whole groups.
        size: samples to a batch.
        group: samples to a group.
    """
    pieces = [batch.cut(i, i + group) for batch in window for i in range(0, len(batch), group)]
    pieces = [replace(piece, x=trimmed(piece.x)) for piece in pieces]
    long = [_shape(piece)[::-1] for piece in pieces]  # of clips (C, T) the T goes first
    found: list[list[int]] = []
    for number in sorted(range(len(pieces)), key=lambda i: long[i]):
        full = not found or len(found[-1]) * group >= size
        if full or not _go_together(pieces[found[-1][0]], pieces[number]):
            found.append([])
        found[-1].append(number)
    return [(join([pieces[number] for number in numbers]), numbers) for numbers in found]


def of_one_length(window: list[Batch]) -> bool:
    """Return whether nothing is to be gained by sorting."""
    return len(window) == 1 or (
        len({_shape(batch) for batch in window}) == 1 and not any(map(is_padded, window))
    )


class Window:
    """Creates the rows of some batches, all made when the first of them is asked for.

    Arguments:
        batches: of whole groups, in the order of the data.
        size: samples to a batch.
        group: samples to a row.
        make: makes the rows of a batch.
        advance: is told of samples that are done.
    """

    def __init__(
        self,
        batches: list[Batch],
        size: int,
        group: int,
        make: Callable[[Batch], Features],
        advance: Callable[[int], object],
    ) -> None:
        self.batches, self.size, self.group = batches, size, group
        self.make, self.advance = make, advance
        self._table: Features | None = None

    @property
    def made(self) -> bool:
        """Whether the rows are there."""
        return self._table is not None

    def maker(self, number: int) -> Callable[[Batch], Features]:
        """Return what makes the rows of the batch of this number."""
        return lambda _: self._rows(number)

    def _rows(self, number: int) -> Features:
        if self._table is None:
            left = sum(map(len, self.batches[number:]))  # the others were kept by an earlier call
            tables, numbers = [], []
            for batch, groups in sorted_batches(self.batches, self.size, self.group):
                tables.append(self.make(batch))
                numbers += groups
                self.advance(min(len(batch), left))
                left -= min(len(batch), left)
            self._table = Features.concatenate(tables).select(np.argsort(numbers))
        start = sum(map(len, self.batches[:number])) // self.group
        return self._table.select(slice(start, start + len(self.batches[number]) // self.group))


def _shape(batch: Batch) -> tuple[int, ...]:
    x = batch.x if isinstance(batch.x, Tensor) else batch.x.get(TOKENS)
    return () if x is None else tuple(x.shape[1:])


def is_padded(batch: Batch) -> bool:
    """Return whether a mask of a batch leaves anything out."""
    mask = batch.x.get(MASK) if isinstance(batch.x, dict) else None
    return mask is not None and not bool(mask.all())


def _go_together(one: Batch, other: Batch) -> bool:
    return isinstance(one.x, dict) or _shape(one) == _shape(other)
