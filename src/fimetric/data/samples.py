"""Samples: a data set in memory, 8-bit images kept as 8 bits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fimetric.arguments import shown
from fimetric.data.batch import Batch
from fimetric.data.conventions import UNIT, Range, outside
from fimetric.data.finite import check_finite
from fimetric.data.prepared import Prepare
from fimetric.data.seen import Seen
from fimetric.data.spec import Spec

LOOKED_AT = 1024  # samples at a time

Kept = Mapping[str, Sequence[Any]]


class Samples(Dataset[dict[str, Any]]):
    """Creates a data set of N samples of one shape, each with an id.

    An item is ``{"x": float tensor, "id": str}``, with what is kept beside it; uint8 values k
    are images and come out as k/255. ``Texts`` and ``Clips`` are sets of another kind, which
    ``load`` returns: they have no ``values``.

    Arguments:
        values: uint8 (N, C, H, W) images, or float (N, ...), taken as it is, in 32 bits at least.
        ids: N strings; by default ``<name>/<index>``.
        name: What to call the set in messages and default ids.
        kept: columns beside the data, such as labels and prompts: name -> N values. A loss gets
            that of its condition alone.
        columns: the names of its columns, where the samples are rows of a table.

    Raises:
        ValueError: for empty data, another number of ids, or a value that is not finite (named).
        TypeError: for values that are neither uint8 nor float.
    """

    quantised = False
    """Whether values are stored as 8 bits."""

    def __init__(
        self,
        values: Tensor,
        ids: Sequence[str] | None = None,
        name: str = "samples",
        *,
        kept: Kept | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Check and store.

        Raises:
            TypeError: for what is no tensor, or values that are neither uint8 nor float.
            ValueError: for no samples, another number of ids, or values that are not finite.
        """
        if not isinstance(values, Tensor):
            raise TypeError(f"{name} must be a tensor, not {shown(values)}; torch.as_tensor it")
        if values.ndim < 2 or len(values) == 0:
            raise ValueError(
                f"{name} is empty or has no sample dimension: shape {tuple(values.shape)}"
            )
        self.quantised = values.dtype == torch.uint8
        if not self.quantised:
            if not values.is_floating_point():
                raise TypeError(
                    f"{name} has values of {values.dtype}; give uint8 images or float data"
                )
            values = values if values.dtype == torch.float64 else values.float()
        self._called(len(values), ids, name, kept)
        self.columns = None if columns is None else tuple(columns)
        if self.columns is not None and tuple(values.shape[1:]) != (len(self.columns),):
            raise ValueError(
                f"{name} has samples of shape {tuple(values.shape[1:])} and {len(self.columns)} "
                "names of columns; give one name a column"
            )
        self._values = values
        if not self.quantised:
            check_finite(values, self.ids, name)

    def _called(self, number: int, ids: Sequence[str] | None, name: str, kept: Kept | None) -> None:
        """Keep what samples of any kind have.

        Raises:
            ValueError: for no samples, or another number of ids or of values beside them.
        """
        if not number:
            raise ValueError(f"{name} is empty: it has no samples")
        self.name = name
        self.ids = [f"{name}/{i}" for i in range(number)] if ids is None else list(ids)
        if len(self.ids) != number:
            raise ValueError(f"{name} has {number} samples but {len(self.ids)} ids")
        self.kept = {key: list(values) for key, values in (kept or {}).items()}
        for key, values in self.kept.items():
            if len(values) != number:
                raise ValueError(f"{name} has {number} samples but {len(values)} values of {key!r}")

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return sample and id; an index out of range raises IndexError, so that iteration ends."""
        return {"x": self._scaled(self.values[index]), **self._beside(index)}

    def _beside(self, index: int) -> dict[str, Any]:
        return {"id": self.ids[index], **{key: each[index] for key, each in self.kept.items()}}

    def _scaled(self, values: Tensor) -> Tensor:
        return values.float() / 255 if self.quantised else values

    @property
    def values(self) -> Tensor:
        """The samples as they are stored, (N, ...)."""
        return self._values

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (C, H, W) for images."""
        return tuple(self.values.shape[1:])

    @property
    def pictures(self) -> bool:
        """Whether the samples are pictures, (C, H, W)."""
        return len(self.shape) == 3

    @property
    def spec(self) -> Spec:
        """What a sample looks like, as all of them show it."""
        rows = (range(a, min(a + LOOKED_AT, len(self))) for a in range(0, len(self), LOOKED_AT))
        seen = (Seen.of(batch) for each in rows for batch in self.parts(each, None))
        return Spec.of_seen(reduce(Seen.merge, seen))

    def tensor(self, indices: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return the samples (n, ...), pictures in float32, at ``indices``, by default all."""
        if indices is None:
            return self._scaled(self.values)
        return self._scaled(self.values[torch.as_tensor(indices)])

    def raw(self, rows: Iterable[int]) -> list[Any]:
        """Return some samples as they are: tensors; texts as strings, clips as tensors (T,)."""
        return list(self.tensor(list(rows)))

    def parts(self, rows: Sequence[int], prepare: Prepare | None) -> Iterator[Batch]:
        """Yield some samples as batches, of which those of clips hold one each.

        Arguments:
            rows: which, by their indices.
            prepare: what makes tensors of texts, if anything does.

        Raises:
            TypeError: for texts that nothing prepares.
        """
        ids, kept = self._chosen(rows)
        yield Batch(self.tensor(list(rows)), ids, self.columns, kept=kept)

    def select(self, indices: Sequence[int] | Tensor) -> Self:
        """Return the samples at ``indices``, in that order, under their ids."""
        rows: list[int] = torch.as_tensor(indices).tolist()
        ids, kept = self._chosen(rows)
        return self._of(rows, ids, kept)

    def _of(self, rows: list[int], ids: list[str], kept: dict[str, list[Any]]) -> Self:
        chosen = self.values[torch.as_tensor(rows)]
        return type(self)(chosen, ids, self.name, kept=kept, columns=self.columns)

    def _chosen(self, rows: Sequence[int]) -> tuple[list[str], dict[str, list[Any]]]:
        """Return ids and what is kept of some samples."""
        kept = {key: [values[i] for i in rows] for key, values in self.kept.items()}
        return [self.ids[i] for i in rows], kept


def joined(first: Samples, second: Samples) -> Samples:
    """Return the values of two data sets of one shape behind each other, with their ids alone."""
    values = torch.cat([first.tensor(), second.tensor()])
    return Samples(values, [*first.ids, *second.ids], f"{first.name} and {second.name}")


def refuse_other_shape(samples: Samples, shape: tuple[int, ...], advice: str) -> None:
    """Refuse samples that a model of one shape does not take.

    Raises:
        ValueError: naming both shapes, with the advice.
    """
    if samples.shape != shape:
        raise ValueError(
            f"{samples.name} has samples of shape {samples.shape}, the model takes {shape}; "
            f"{advice}"
        )


def refuse_outside(samples: Samples, expected: Range = UNIT) -> None:
    """Refuse samples that are kept as floats and do not lie in a range.

    Raises:
        ValueError: naming them and their range.
    """
    if samples.quantised:
        return
    low, high = float(samples.values.min()), float(samples.values.max())
    if not expected.low <= low <= high <= expected.high:
        raise ValueError(f"{samples.name} has {outside(expected, low, high)}")
