"""What a sample looks like: kind of numbers, shape and range, so that another kind is refused.

The range is a convention, [0, 1], [-1, 1], 0..255 or the tokens of a vocabulary, or it is free. It
is never the smallest and the largest number seen: whatever can be a strange sample is no mistake.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from fimetric.data.batch import Batch
from fimetric.data.conventions import BYTES, SLACK, UNIT, Range, outside
from fimetric.data.kinds import (
    FLOATS,
    INTEGERS,
    TOKENS,
    Shape,
    as_batch,
    data_of,
    fits,
    kind_of,
    listed,
    ordinary,
    other_entries,
    real_tokens,
    refuse_other_source,
    shape_text,
    some,
)
from fimetric.data.seen import Seen


@dataclass(frozen=True)
class Spec:
    """What the samples of a detector look like.

    Arguments:
        kind: ``floats``, ``integers``, ``tokens``, ``booleans`` or ``complex``; ``texts`` before
            an objective has made tokens of them.
        shape: of one sample, None for a dimension of any length; None where any shape will do.
        low, high: the range by convention; None where it is free.
        vocabulary: number of tokens there are.
        columns: names of a table's columns, in order.
        rate: of a sound, in samples a second.
        levels: all numbers lie on so many equal steps from low to high.
        others: names of the entries of a batch besides the data; None where any will do.
        apart: whether each sample that this was learned from left [0, 1].
        inferred: whether the range was told by shape and numbers alone.

    Example:
        >>> spec = Spec.of(torch.rand(20, 1, 8, 8))
        >>> spec.kind, spec.shape, spec.low, spec.high
        ('floats', (1, 8, 8), 0.0, 1.0)
        >>> spec.check(255 * torch.ones(2, 1, 8, 8))
        Traceback (most recent call last):
        ValueError: sample 0 and 1 more have values from 255 to 255, outside [0, 1]; ...
    """

    kind: str
    shape: Shape | None = None
    low: float | None = None
    high: float | None = None
    vocabulary: int | None = None
    columns: tuple[str, ...] | None = None
    rate: float | None = None
    levels: int | None = None
    others: tuple[str, ...] | None = None
    apart: bool = False
    inferred: bool = False

    def __post_init__(self) -> None:
        """Make tuples of what comes as lists from JSON."""
        for name in ("shape", "columns", "others"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))

    @classmethod
    def of(cls, batch: Any, *more: Any) -> Self:
        """Learn what samples look like from a batch, or from several.

        Arguments:
            batch: a ``Batch``, a tensor or array (N, ...), or a dictionary of such.
            more: further batches of the same data.

        Raises:
            TypeError: for what is no batch of numbers.
            ValueError: where the batches differ in kind, columns or number of dimensions.
        """
        seen = Seen.of(as_batch(batch))
        for other in more:
            seen = seen.merge(Seen.of(as_batch(other)))
        return cls.of_seen(seen)

    @classmethod
    def of_seen(cls, seen: Seen) -> Self:
        """Return the convention of the data of which this was seen."""
        found, levels = seen.convention()
        return cls(
            seen.kind,
            seen.shape,
            None if found is None else found.low,
            None if found is None else found.high,
            columns=seen.columns,
            rate=seen.rate,
            levels=levels,
            others=seen.others,
            apart=found is not None and found != UNIT and seen.apart,
            inferred=found is not None,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, as values for JSON."""
        return asdict(self)

    def check(self, batch: Any) -> None:
        """Refuse samples that follow another convention.

        Arguments:
            batch: as ``of`` takes it.

        Raises:
            TypeError: for what is no batch of numbers, or numbers of another kind.
            ValueError: for another shape, range, vocabulary, or other columns or entries.
        """
        batch = as_batch(batch)
        x = data_of(batch.x, likely=True)
        self._check_entries(batch)
        self._check_kind(x)
        self._check_shape(x)
        if not x.numel():
            return
        if self.kind == TOKENS:
            self._check_tokens(batch)
        elif self.range is not None:
            self._check_range(batch, self.range)

    def difference(self, other: "Spec") -> str:
        """Return in words how samples of another table look otherwise; empty where they may not."""
        if self.kind != other.kind:
            return f"samples of {other.kind}, not {self.kind}"
        if self.shape is not None and other.shape is not None and not fits(other.shape, self.shape):
            return f"samples of shape {shape_text(other.shape)}, not {shape_text(self.shape)}"
        if None not in (self.columns, other.columns) and self.columns != other.columns:
            return "a table of other columns"
        if None not in (self.rate, other.rate) and self.rate != other.rate:
            return f"sounds of {other.rate:g} values a second, not {self.rate:g}"
        if None not in (self.range, other.range) and self.range != other.range:
            return f"samples in {other.range}, not {self.range}"
        return ""

    @property
    def range(self) -> Range | None:
        """The range by convention, None where it is free."""
        if self.low is None or self.high is None:
            return None
        return Range(self.low, self.high)

    def stated(self, stated: "Spec | None") -> Self:
        """Return this with what an objective states, which goes before what was learned."""
        if stated is None:
            return self
        names = ("kind", "shape", "low", "high", "vocabulary", "levels")
        given = {name: getattr(stated, name) for name in names}
        found = {name: value for name, value in given.items() if value is not None}
        if stated.range is not None and stated.range != self.range:
            found |= {"levels": stated.levels, "apart": False}
        if stated.range is not None:
            found |= {"inferred": False}
        return replace(self, **found)

    def _check_entries(self, batch: Batch) -> None:
        found = other_entries(batch)
        if self.others is not None and found != self.others:
            raise ValueError(
                f"the batch has {listed(found)} besides the data, where {listed(self.others)} "
                "is expected; give the same entries as at fit"
            )
        refuse_other_source(batch, self.columns, self.rate)

    def _check_kind(self, x: Tensor) -> None:
        found, wanted = kind_of(x), self.kind
        if found == wanted or (found == INTEGERS and wanted == TOKENS):
            return
        advice = {
            FLOATS: "convert them, as x.float(), and bring them to the scale of the fitted data"
            + (" (pictures: uint8, or k/255)" if self.range == UNIT else "")
            + (" (sound of 16 bits: x / 32768)" if x.dtype == torch.int16 else ""),
            TOKENS: "pass the token ids that the tokenizer returns",
        }.get(wanted, f"pass {wanted}")
        raise TypeError(
            f"the data are {found} ({str(x.dtype).removeprefix('torch.')}), where {wanted} are "
            f"expected; {advice}"
        )

    def _check_shape(self, x: Tensor) -> None:
        if self.shape is None or fits(tuple(x.shape[1:]), self.shape):
            return
        shape, expected = tuple(x.shape[1:]), shape_text(self.shape)
        advice = f"bring them to {expected}"
        if fits(tuple(x.shape), self.shape) or shape == self.shape[1:]:
            advice = (
                f"the first dimension counts samples: of one sample {expected} pass x[None], of "
                f"shape {shape_text((1, *self.shape))}"
            )
        raise ValueError(
            f"the samples have shape {shape} (the batch {tuple(x.shape)}), where {expected} is "
            f"expected; {advice}"
        )

    def _check_tokens(self, batch: Batch) -> None:
        tokens, real = data_of(batch.x, likely=True), real_tokens(batch)
        wrong = (tokens < 0) if self.vocabulary is None else ~_within(tokens, self.vocabulary)
        wrong &= real
        if wrong.any():
            row = int(wrong.flatten(1).any(1).nonzero()[0])
            ids = tokens[row][wrong[row]]
            limit = "" if self.vocabulary is None else f" to {self.vocabulary - 1}"
            raise ValueError(
                f"sample {batch.ids[row]} (row {row}) has the token {int(ids[0])}, where they go "
                f"from 0{limit}; tokenize with the model's own tokenizer"
            )

    def _check_range(self, batch: Batch, expected: Range) -> None:
        x = ordinary(data_of(batch.x, likely=True))
        x = x.reshape(len(x), -1)
        low, high = x.amin(1), x.amax(1)
        each = zip(low.tolist(), high.tolist(), strict=True)
        rows = [i for i, (a, b) in enumerate(each) if not expected.contains(a, b)]
        rows = rows or self._fractional(x, low, high)
        if not rows and self._certainly_unit(x, low, high):
            rows = list(range(len(x)))
        if rows:
            said = outside(expected, float(low[rows].min()), float(high[rows].max()))
            raise ValueError(f"{some(batch.ids, rows)} {said}{INFERRED if self.inferred else ''}")
        if self.levels not in (None, 256):
            self._check_levels(x, batch.ids)

    def _check_levels(self, x: Tensor, ids: Sequence[str]) -> None:
        """Refuse pictures of 8 bits where an objective states fewer or more levels.

        Raises:
            ValueError: naming the samples and the levels.
        """
        levels = self.levels or 0
        if self.range == UNIT and not UNIT.on_grid(x, levels) and UNIT.levels(x) > 1:
            raise ValueError(
                f"{some(ids, range(len(x)))} values on the 256 levels of 8 bits, where {levels} "
                f"levels are expected; round to k / {levels - 1}"
            )

    def _fractional(self, x: Tensor, low: Tensor, high: Tensor) -> list[int]:
        """Return the samples in [0, 1] with fractions, where the fitted ones are 0..255.

        A dark picture has whole numbers, too; one that was resized may have any, but not below 1
        alone.
        """
        if self.range != BYTES or self.levels is None:
            return []
        inside = (low >= -SLACK) & (high <= 1 + SLACK)
        return [i for i in inside.nonzero().flatten().tolist() if not BYTES.on_grid(x[i])]

    def _certainly_unit(self, x: Tensor, low: Tensor, high: Tensor) -> bool:
        """Return whether numbers that lie in this range are pictures in [0, 1] for certain.

        They are where they lie on the levels of [0, 1] and the fitted ones on others. Without such
        levels one bright picture in [-1, 1] may look the same, so it takes several, each of which
        spans [0, 1], and fitted ones that all left it.
        """
        whole = (float(low.min()), float(high.max()))
        if self.range == UNIT or not UNIT.contains(*whole) or self.kind != FLOATS:
            return False
        if self.levels is not None:
            assert self.range is not None
            if self.range.on_grid(x):
                return False
            if UNIT.levels(x) > FEWEST:  # a mask, or one grey, lies on many grids
                return True
        each = zip(low.tolist(), high.tolist(), strict=True)
        return self.apart and len(x) > 1 and all(UNIT.spanned(a, b) for a, b in each)


INFERRED = (
    ". The range was inferred from the fitted samples, which have the shape and the numbers of "
    "pictures; where they are none, fit on rows (x.flatten(1)), or free the range: "
    "detector.spec_ = dataclasses.replace(detector.spec_, low=None, high=None)"
)
FEWEST = 3  # different numbers that lie on the levels of [0, 1] by no chance


def _within(tokens: Tensor, vocabulary: int) -> Tensor:
    return (tokens >= 0) & (tokens < vocabulary)
