"""One column of the table as the score."""

from typing import Self

import numpy as np

from fimetric.detectors.base import Density, finite_rows
from fimetric.features import screening
from fimetric.features.table import Features
from fimetric.typing import Array


class Column(Density):
    r"""Creates a column itself as the score, :math:`y`, or its distance from the mean of own rows.

    It is for a published score that is a number of the sample, such as a column of
    ``fimetric.statistics.TokenStatistics``. Nothing else is learned.

    Arguments:
        column: its name; the only one of the table if None.
        two_sided: whether small values are strange too, :math:`|y - \mu|`.
    """

    name = "column"

    column_: str
    mean_: float  # of the fitting rows, mu

    def __init__(self, column: str | None = None, two_sided: bool = False) -> None:
        self.column, self.two_sided = column, two_sided

    def fit(self, features: Features) -> Self:
        """Take note of the column and its mean, N >= 1; see ``Density.fit``.

        Raises:
            ValueError: for a table without rows or without the column, for one of several columns
                where none is named, and for a value that is not finite.
        """
        if len(features) == 0:
            raise ValueError("cannot fit a density to 0 rows; pass at least one")
        name = self._chosen(features)
        screening.refuse_strange(features)
        y = features.columns([name]).values[:, 0]
        if not np.isfinite(y).all():
            sample = features.group_ids(int(np.flatnonzero(~np.isfinite(y))[0]))[0]
            raise ValueError(f"cannot fit on sample {sample!r}: its {name!r} is not finite")
        self.column_, self.mean_ = name, float(y.mean())
        return self

    def _chosen(self, features: Features) -> str:
        """Return the name of the column.

        Raises:
            ValueError: where there is none, or where it is one of several.
        """
        names = features.names if self.column is None else (self.column,)
        if len(names) == 1 and names[0] in features.names:
            return names[0]
        told = ", ".join(map(repr, features.names[:10])) + ", ..." * (len(features.names) > 10)
        missing = "no column is named" if self.column is None else f"no column {self.column!r}"
        raise ValueError(f"{missing} in {features!r}; 'column' takes one of {told}")

    def score(self, features: Features) -> Array:
        """Return scores (N,), higher = more anomalous; see ``Density.score``."""
        self._require_fit("column_")
        y = features.columns([self.column_]).values[:, 0]
        scores = np.full(len(features), np.inf)
        fine = finite_rows(features)
        scores[fine] = np.abs(y[fine] - self.mean_) if self.two_sided else y[fine]
        return scores
