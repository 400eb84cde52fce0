"""The waist of the package: one row of log squared gradient norms per group of samples.

    y_gj = log || d/d theta_j  sum_{b in group g} loss(x_b) ||^2          (N, J)

Everything before makes this table; everything after is statistics on it and knows neither torch nor
the model. A table of other statistics of a sample (one named column each) goes the same way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fimetric.arguments import folder_of, listed, shown, whole
from fimetric.data.spec import Spec
from fimetric.features import saved
from fimetric.features.checks import check_different, check_shapes, difference
from fimetric.features.probe import Probe, agree
from fimetric.features.saved import VERSION, Grouping
from fimetric.typing import Array

CODE = "code/"  # begins the names of code lengths among the parts
COSTLY = ("iwae", "loss/t=")  # begin the names of parts that take passes of their own
PROVENANCE = ("objective", "fingerprint", "unsteady", "seed", "group_size", "grouping", "version")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Features:
    """A table of N rows (groups of samples) and J named columns (layers), and where it comes from.

    Arguments:
        values: (N, J) natural logarithms of squared norms; -inf for an exact zero. Rows of strange
            samples may hold nan or +inf. No columns where no gradient was taken.
        names: J column names, all different.
        losses: (N * group_size, V) loss of each sample in each view, in nats.
        views: V view names, all different.
        parts: (N * group_size, P) what the loss of each sample consists of, see
            ``Objective.parts``; without columns by default. A row is not strange for a part that is
            not finite: norms and losses are there nevertheless, and who reads parts decides.
        part_names: P names of parts, all different.
        ids: N * group_size names of the samples.
        bounds: (J,) bound on the rounding error of the *squared* norm (not its logarithm), >= 0;
            a value at or below it is noise. 0 where none is known or the column is no norm.
        numels: (J,) elements of each parameter tensor; 1 where the column is no norm.
        dimensions: (N * group_size,) number of dimensions of each sample, for bits per dimension,
            such as its pixels or its predicted tokens; or one number for all.
        objective: what was differentiated, in words.
        fingerprint: hexadecimal fingerprint of the objective, see ``fimetric.fingerprint.model``.
        seed: seed of the objective's noise.
        group_size: samples per row.
        grouping: what a row of several samples is: ``joint``, the norms of their joint gradient, or
            ``mean``, the mean of their log norms.
        unsteady: attributes of the model that a forward pass changes; no part of the fingerprint.
        probe: losses of made-up rows, which tell another loss; None where there are none.
        spec: what a sample looks like; None where that is not known.
        batch_size: samples that went to a forward pass, where that is known.
        costs: what the forms of the norms were chosen by, see ``fimetric.gradients``; None where
            the columns are no norms, or were made before costs were kept.
        version: version of this format.

    Raises:
        ValueError: where shapes disagree or names repeat.
    """

    values: Array
    names: tuple[str, ...]
    losses: Array
    views: tuple[str, ...]
    ids: tuple[str, ...]
    bounds: Array
    numels: NDArray[np.int64]
    dimensions: NDArray[np.int64]
    objective: str
    fingerprint: str
    seed: int
    group_size: int = 1
    grouping: Grouping = "joint"
    unsteady: tuple[str, ...] = ()
    probe: Probe | None = None
    spec: Spec | None = None
    batch_size: int | None = None
    costs: dict[str, float] | None = None
    parts: Array = field(default_factory=lambda: np.empty((0, 0)))
    part_names: tuple[str, ...] = ()
    version: int = VERSION

    def __post_init__(self) -> None:
        """Bring every field to its type and check that the shapes agree.

        Raises:
            ValueError: for shapes that disagree, repeated names, an unknown grouping, or numbers
                out of range.
        """
        if not self.part_names and not np.size(self.parts):
            object.__setattr__(self, "parts", np.empty((len(self.ids), 0)))
        for name in ("values", "losses", "bounds", "parts"):
            object.__setattr__(self, name, _contiguous(getattr(self, name), np.float64))
        object.__setattr__(self, "numels", _contiguous(self.numels, np.int64))
        for name in ("names", "views", "ids", "unsteady", "part_names"):
            object.__setattr__(self, name, tuple(map(str, getattr(self, name))))
        for name in ("seed", "group_size", "version"):
            object.__setattr__(self, name, int(getattr(self, name)))  # JSON knows no numpy integer
        if self.group_size < 1:
            raise ValueError(f"group_size is {self.group_size}; it must be at least 1")
        if self.grouping not in ("joint", "mean"):
            raise ValueError(f"grouping is {self.grouping!r}; it must be 'joint' or 'mean'")
        each = self.dimensions
        each = np.broadcast_to(each, len(self.ids)) if np.ndim(each) == 0 else each
        object.__setattr__(self, "dimensions", _contiguous(each, np.int64))
        check_shapes(self)
        check_different("column", self.names)
        check_different("view", self.views)
        check_different("part", self.part_names)
        if not (np.isfinite(self.bounds) & (self.bounds >= 0)).all():
            raise ValueError("bounds must be finite and not negative: they bound squared norms")
        if (self.numels < 0).any():
            raise ValueError("numels must not be negative: they count elements")
        if (self.dimensions < 1).any():
            raise ValueError("dimensions must be at least 1: they count what a loss is a sum over")

    def __len__(self) -> int:
        """Return the number N of rows (groups)."""
        return len(self.values)

    def __repr__(self) -> str:
        """Return the sizes and the objective in one line."""
        return (
            f"Features(N={len(self)}, J={len(self.names)}, V={len(self.views)}, "
            f"group_size={self.group_size}, objective={self.objective!r})"
        )

    @property
    def group_losses(self) -> Array:
        """(N, V) mean loss of the samples in each group, in nats per sample."""
        return self.losses.reshape(len(self), self.group_size, len(self.views)).mean(1)

    @property
    def group_parts(self) -> Array:
        """(N, P) mean parts of the samples in each group."""
        return self.parts.reshape(len(self), self.group_size, len(self.part_names)).mean(1)

    @property
    def bits_per_dim(self) -> Array:
        """(N * group_size,) loss of each sample, mean over the views, in bits per dimension."""
        return self.losses.mean(1) / (self.dimensions * math.log(2))

    def group_ids(self, row: int) -> tuple[str, ...]:
        """Return the names of the samples in one row."""
        return self.ids[row * self.group_size : (row + 1) * self.group_size]

    def select(self, rows: ArrayLike | slice) -> Self:
        """Return the table of some rows (indices, a mask or a slice), their samples with them.

        Raises:
            IndexError: for rows that are not in the table.
        """
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows if rows.size else rows.astype(np.int64)
        try:
            chosen = np.atleast_1d(np.arange(len(self))[rows])
        except IndexError as error:
            raise IndexError(f"no such rows in a table of {len(self)}: {error}") from error
        samples = (chosen[:, None] * self.group_size + np.arange(self.group_size)).reshape(-1)
        return replace(
            self,
            values=self.values[chosen],
            losses=self.losses[samples],
            parts=self.parts[samples],
            dimensions=self.dimensions[samples],
            ids=tuple(self.ids[sample] for sample in samples),
        )

    def grouped(self, size: int) -> Self:
        """Return the table of groups by the mean of their samples' log norms.

        This is another feature of a group than the norm of its joint gradient, which ``extract``
        computes with ``group_size``. Samples left over at the end are cut.

        Raises:
            ValueError: where the rows are groups already.
        """
        whole("size", size)
        if self.group_size != 1:
            raise ValueError(f"the rows are groups of {self.group_size} already")
        kept = self.select(slice(len(self) // size * size))
        means = kept.values.reshape(len(kept) // size, size, len(self.names)).mean(1)
        return replace(kept, values=means, group_size=size, grouping="mean")

    def columns(self, names: Sequence[str]) -> Self:
        """Return the table of some columns, in the order asked for.

        Raises:
            ValueError: where a name is not a column of this table.
        """
        names = listed("names", names, "['layer.weight']")
        places = {name: j for j, name in enumerate(self.names)}
        missing = [name for name in names if name not in places]
        if missing:
            raise ValueError(
                f"no column {', '.join(map(repr, missing))} in {self!r}; extract these features "
                "with the objective and model that the others were extracted with"
            )
        chosen = [places[name] for name in names]
        return replace(
            self,
            values=self.values[:, chosen],
            names=tuple(names),
            bounds=self.bounds[chosen],
            numels=self.numels[chosen],
        )

    def parts_named(self, names: Sequence[str]) -> Array:
        """Return the mean parts (N, P) of these names in each group, in this order.

        Raises:
            ValueError: where the table lacks one.
        """
        missing = [name for name in names if name not in self.part_names]
        if missing:
            codec = any(name.startswith(CODE) for name in missing)
            raise ValueError(
                f"no part {', '.join(map(repr, missing))} in {self!r}; extract these features with "
                "the parts of the loss that those had which were fitted"
                + (", where Pillow has all codecs (code/jpeg2000 takes OpenJPEG)" if codec else "")
            )
        return self.group_parts[:, [self.part_names.index(name) for name in names]]

    def with_parts(self, names: Sequence[str]) -> Self:
        """Return the same rows with these of their parts alone, each of which they must have."""
        places = [self.part_names.index(name) for name in names]
        return replace(self, parts=self.parts[:, places], part_names=tuple(names))

    def with_columns(self, values: Array, names: Sequence[str]) -> Self:
        """Return the same rows with other columns (N, K), which are no norms."""
        K = len(names)
        numels = np.ones(K, dtype=np.int64)
        return replace(self, values=values, names=tuple(names), bounds=np.zeros(K), numels=numels)

    @classmethod
    def concatenate(cls, parts: Sequence["Features"]) -> "Features":
        """Return the rows of several tables as one; the bounds are the largest of the parts'.

        Raises:
            ValueError: where there is no table, or names or provenance differ.
            TypeError: for a part that is no ``Features``.
        """
        if not parts:
            raise ValueError("nothing to concatenate: pass at least one Features")
        first = parts[0]
        for place, part in enumerate(parts):
            if not isinstance(part, Features):
                raise TypeError(f"part {place} is no Features but {shown(part)}")
            for name in ("names", "views", "part_names", *PROVENANCE):
                if getattr(part, name) != getattr(first, name):
                    raise ValueError(difference(name, first, part, place))
            if not np.array_equal(part.numels, first.numels):
                raise ValueError(difference("numels", first, part, place))
            if not agree(first.probe, part.probe):
                raise ValueError(difference("probe", first, part, place))
        return replace(
            first,
            values=np.concatenate([part.values for part in parts]),
            losses=np.concatenate([part.losses for part in parts]),
            parts=np.concatenate([part.parts for part in parts]),
            dimensions=np.concatenate([part.dimensions for part in parts]),
            ids=tuple(sample for part in parts for sample in part.ids),
            bounds=np.max([part.bounds for part in parts], axis=0),
        )

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the table into a folder: features.safetensors and features.json.

        Raises:
            FileExistsError: where the folder exists and ``overwrite`` is False.
        """
        saved.write(folder, self, overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a table that ``save`` wrote.

        Raises:
            ValueError: where a file is missing, damaged, of another version or of another table.
        """
        folder = folder_of(folder)
        fields = saved.read(folder)
        try:
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder} is no whole Features: {error}; extract again") from error


def _contiguous(array: ArrayLike, kind: type[np.generic]) -> NDArray[Any]:
    """Return the array in rows (as safetensors writes its memory), never of fewer dimensions."""
    return np.asarray(array, dtype=kind, order="C")
