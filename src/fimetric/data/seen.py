"""What is seen of data, batch by batch, and the convention that it tells."""

from dataclasses import dataclass, replace

from torch import Tensor

from fimetric.data.batch import Batch
from fimetric.data.conventions import BYTES, CONVENTIONS, DISTINCT, UNIT, Range
from fimetric.data.kinds import (
    FLOATS,
    INTEGERS,
    Shape,
    columns_of,
    data_of,
    kind_of,
    ordinary,
    other_entries,
)

FLATTENED = 64  # columns from which on a row may be a picture written out
LEAST_SIDE = 4  # of a picture: (N, 2, T) is a sound of two channels


@dataclass(frozen=True)
class Seen:
    """What is seen of some samples: enough to tell their convention, little enough to merge.

    ``low`` and ``high`` are the smallest and the largest number; ``levels`` counts the different
    levels of 8 bits that the numbers lie on, in each of ``CONVENTIONS``, 0 where one is off;
    ``apart`` says whether each sample has numbers outside [0, 1].
    """

    kind: str
    shape: Shape
    low: float
    high: float
    levels: tuple[int, ...]
    apart: bool
    columns: tuple[str, ...] | None
    others: tuple[str, ...]
    rate: int | None = None

    @classmethod
    def of(cls, batch: Batch) -> "Seen":
        """Return what one batch shows."""
        x = ordinary(data_of(batch.x, likely=True))
        kind = kind_of(x)
        plain = x.numel() > 0 and kind in (FLOATS, INTEGERS)
        low, high = (float(x.min()), float(x.max())) if plain else (0.0, 0.0)
        inside = [plain and grid.contains(low, high) for grid in CONVENTIONS]
        return cls(
            kind=kind,
            shape=tuple(x.shape[1:]),
            low=low,
            high=high,
            levels=tuple(
                g.levels(x) if fit else 0 for g, fit in zip(CONVENTIONS, inside, strict=True)
            ),
            apart=plain and _each_leaves_unit(x),
            columns=columns_of(batch),
            others=other_entries(batch),
            rate=batch.rate,
        )

    def merge(self, other: "Seen") -> "Seen":
        """Return what both show together; a dimension of two lengths is free.

        Raises:
            ValueError: where the two differ in kind, columns, entries or number of dimensions.
        """
        what = {
            "kind": "kind",
            "columns": "columns",
            "others": "entries besides the data",
            "rate": "rate",
        }
        for name, words in what.items():
            a, b = getattr(self, name), getattr(other, name)
            if a != b:
                raise ValueError(f"the batches differ in {words}: {a} and {b}; make them alike")
        if len(self.shape) != len(other.shape):
            raise ValueError(
                f"the samples differ in shape, {self.shape} and {other.shape}; make them alike"
            )
        sides = zip(self.shape, other.shape, strict=True)
        counts = zip(self.levels, other.levels, strict=True)
        return replace(
            self,
            shape=tuple(a if a == b else None for a, b in sides),
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            levels=tuple(max(a, b) if a and b else 0 for a, b in counts),
            apart=self.apart and other.apart,
        )

    def convention(self) -> tuple[Range | None, int | None]:
        """Return the range that the numbers follow, None where it is free, and its levels.

        Tables and sounds are free: one scaled to [0, 1] or [-1, 1] may well see 1.3. Pictures
        follow a convention if they span it, and whatever lies on the levels of 8 bits does.
        """
        for grid, found in zip(CONVENTIONS, self.levels, strict=True):
            if not grid.contains(self.low, self.high):
                continue
            levels = 256 if found > DISTINCT else None
            counted = grid == BYTES or self.kind != FLOATS  # counts are whole numbers, too
            if levels and not counted and (self._pictures or self._flattened):
                return grid, levels
            if self._pictures and self._follow(grid):
                return grid, levels
        return None, None

    def _follow(self, grid: Range) -> bool:
        """Return whether pictures with such numbers are kept in a range."""
        if grid == BYTES:
            whole = self.levels[-1] > 0
            return self.high > BYTES.high / 2 if whole else grid.high - self.high < 1
        return self.kind == FLOATS and grid.spanned(self.low, self.high)

    @property
    def _flattened(self) -> bool:
        """Whether the samples may be pictures written in a row: a table has fewer columns."""
        return len(self.shape) == 1 and (self.shape[0] or 0) >= FLATTENED

    @property
    def _pictures(self) -> bool:
        """Whether the samples are pictures by their shape."""
        sides = [LEAST_SIDE if side is None else side for side in self.shape[-2:]]
        return len(self.shape) > 2 or (len(self.shape) == 2 and min(sides) >= LEAST_SIDE)


def _each_leaves_unit(x: Tensor) -> bool:
    x = x.reshape(len(x), -1)
    each = zip(x.amin(1).tolist(), x.amax(1).tolist(), strict=True)
    return all(not UNIT.contains(low, high) for low, high in each)
