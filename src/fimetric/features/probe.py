"""What no hash can see: the losses of four made-up rows, kept wherever another loss must be told.

A loss may be any function, and a function's body, what it closes over and what its model's code
says are not data that could be hashed. So every table and every detector keeps the losses of four
rows drawn with a fixed seed, of the shape, kind and range of the data and never of the data
themselves. ``fimetric.extraction.probing`` makes them, and computes them again.
"""

import msgspec
import numpy as np


class Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How one entry of the made-up batch is drawn.

    Arguments:
        key: its name in a dictionary, empty for a tensor alone.
        shape: of one row.
        kind: number format, as in ``float32``.
        low, high: the values are uniform in between; integers lie in [low, high).
    """

    key: str
    shape: tuple[int, ...]
    kind: str
    low: float
    high: float


class Probe(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The losses of four made-up rows, and the libraries behind code lengths.

    Arguments:
        entries: how the rows are drawn.
        losses: of the four rows in each view, in nats.
        tolerance: how far, relative to max(1, |loss|), rounding may move a loss.
        codes: of each compressor whose lengths stand among the parts of the losses, the bytes that
            it makes of a fixed picture (``data.codes.signature``); none are known of older ones.

    Raises:
        ValueError: for losses that are no table.
    """

    entries: tuple[Entry, ...]
    losses: tuple[tuple[float, ...], ...]
    tolerance: float
    codes: dict[str, int] = {}

    def __post_init__(self) -> None:
        """Check that the losses are a table.

        Raises:
            ValueError: for no rows, empty ones, or rows of unequal lengths.
        """
        if len({len(row) for row in self.losses}) != 1 or not self.losses[0]:
            raise ValueError("losses of made-up rows must be a table, a row for each")

    def far_from(self, losses: np.ndarray) -> np.ndarray:
        """Mark which of other losses (4, V) rounding cannot have made of these."""
        kept = np.array(self.losses)
        with np.errstate(over="ignore", invalid="ignore"):  # a file may hold any numbers
            near = np.abs(losses - kept) <= self.tolerance * np.maximum(1, np.abs(kept))
        return np.asarray(~near)  # a nan is not near


def agree(one: Probe | None, other: Probe | None) -> bool:
    """Return whether two probes may come from one loss: of the same rows, the losses are equal."""
    if one is None or other is None:
        return True
    if one.codes and other.codes and one.codes != other.codes:
        return False
    if one.entries != other.entries:
        return True
    wider, found = (one, other) if one.tolerance >= other.tolerance else (other, one)
    losses = np.array(found.losses)
    return losses.shape == np.shape(wider.losses) and not wider.far_from(losses).any()
