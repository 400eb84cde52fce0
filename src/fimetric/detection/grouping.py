"""Samples in groups that are judged together: whole ones, their means, and those to fit on."""

import logging

import numpy as np
from numpy.typing import NDArray

from fimetric.features.groups import means, overlapping, refuse_rest
from fimetric.features.screening import refuse_strange
from fimetric.features.table import Features

logger = logging.getLogger(__name__)


def grouped(table: Features, size: int, whole: bool = False) -> Features:
    """Return the means over groups where a row is a sample still.

    Samples left over are refused if ``whole``, else left out with a warning in the log.
    """
    if table.group_size == size:
        return table
    if whole:
        refuse_rest(len(table), size)
    elif len(table) % size:
        logger.warning(
            "the last %d of %d samples make no whole group of %d: left out",
            len(table) % size,
            len(table),
            size,
        )
    return table.grouped(size)


def halves(groups: int, size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which groups to fit on and which to calibrate on, by a seeded draw.

    Raises:
        ValueError: for too few of them.
    """
    if groups < 4:
        raise ValueError(
            f"{groups} groups of {size} are too few to fit a density on one half and calibrate on "
            "the other; 4 is the least, some hundreds are better"
        )
    order = np.random.default_rng(seed).permutation(groups)
    return order[: groups // 2], order[groups // 2 :]


def to_fit(table: Features, groups: NDArray[np.int64], size: int, seed: int) -> Features:
    """Return what a density is fitted on: some groups, or the samples in them, regrouped.

    Samples regrouped at random give as many rows as there are samples, of which groups alone would
    be few.
    """
    if table.group_size == size:
        return table.select(groups)
    samples = groups[:, None] * size + np.arange(size)
    part = table.select(samples.ravel())
    refuse_strange(part)
    return means(part, overlapping(len(part), size, len(part), seed))
