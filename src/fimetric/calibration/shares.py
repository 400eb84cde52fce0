"""Shares and p-values as numbers: checked, and compared as the numbers that they stand for."""

import numpy as np
from numpy.typing import ArrayLike

from fimetric.arguments import numbers, real
from fimetric.typing import Array

# A share such as 1 - 0.9 falls short of .1 by the rounding of a number near 1, and products and
# quotients of shares by a few units in their last place. p-values are counts over n + 1, and often
# lie exactly on alpha: such a one is to be rejected, and no other is as near.
SHARE_ROUNDING = 2.0**-53
RELATIVE_ROUNDING = 2.0**-50


def rounded_up(share: float) -> float:
    """Return the largest number that a share can have been before it was rounded.

    >>> 1 - 0.9 >= 0.1, rounded_up(1 - 0.9) >= 0.1
    (False, True)
    """
    return share * (1 + RELATIVE_ROUNDING) + SHARE_ROUNDING


def one_dimensional(what: str, values: ArrayLike) -> Array:
    """Return finite or infinite numbers (n,).

    Raises:
        ValueError: for nan, with its index, and for other shapes.
    """
    array = numbers(what, values)
    if array.ndim != 1:
        raise ValueError(f"{what} have shape {array.shape}; pass one dimension")
    if np.isnan(array).any():
        raise ValueError(f"{what} hold nan, at index {int(np.flatnonzero(np.isnan(array))[0])}")
    return array


def check_fraction(name: str, value: float) -> None:
    """Refuse what lies not strictly between 0 and 1.

    Raises:
        ValueError: naming it, and the fraction where it looks like a percentage.
    """
    if not 0 < real(name, value) < 1:
        percent = f"; {value} percent is {value / 100:g}" if 1 <= value < 100 else ""
        raise ValueError(f"{name} is {value}; it must lie strictly between 0 and 1{percent}")
