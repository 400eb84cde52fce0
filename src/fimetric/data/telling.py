"""What is told of data as they are read: of a file or folder once, however often it is opened."""

import logging
import os
from typing import Any

from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

SHUFFLING = RandomSampler | SubsetRandomSampler | WeightedRandomSampler
logger = logging.getLogger(__name__)
_told: set[tuple[str, str]] = set()


def once(log: logging.Logger, level: int, file: str | None, message: str, *values: object) -> None:
    """Log a message, unless it was logged of that file before.

    Arguments:
        log: the logger of whoever tells it.
        level: of ``logging``.
        file: which, or a folder; None of data in memory, which have no name that tells them apart.
        message: with places for ``values``, as loggers take it.
    """
    if file is not None:
        told = (os.path.abspath(file), message % values)
        if told in _told:
            return
        _told.add(told)
    log.log(level, message, *values)


def tell_of_shuffling(loader: DataLoader[Any]) -> None:
    """Log where a loader shuffles, so that its order tells nothing."""
    if isinstance(loader.sampler, SHUFFLING):
        logger.warning(
            "the DataLoader shuffles: results come in an order of its own, another one each time, "
            "and samples without an id are numbered in it; give shuffle=False"
        )
