"""What is told of a file or folder as it is read: once in a process, however often it is opened."""

import logging
import os

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
