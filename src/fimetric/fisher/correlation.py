r"""How the layers' log norms are correlated, and how many independent layers they are worth.

.. math:: K_{\text{eff}} = \frac{K^2}{\sum_{ij} \rho_{ij}^2} = \frac{(\operatorname{tr} R)^2}
          {\operatorname{tr} R^2}

for K layers with correlation matrix R: K where they are independent, 1 where they are all alike,
the number of blocks where they come in blocks of equal size.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fimetric.features.screening import informative, strange
from fimetric.features.table import Features
from fimetric.typing import Array

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Correlation:
    """Correlations of K layers over n rows.

    Arguments:
        matrix: (K, K) correlations r, ones on the diagonal.
        names: the K layers, in the order of the features.
        rows: number n of rows that were used.
        dropped: rows that were left out, since a value of theirs was not finite.
    """

    matrix: Array
    names: tuple[str, ...]
    rows: int
    dropped: int = 0

    @property
    def by_distance(self) -> Array:
        """(K - 1,) mean of r between layers i and i + d, for d = 1, ..., K - 1."""
        K = len(self.names)
        return np.array([np.diagonal(self.matrix, d).mean() for d in range(1, K)])

    @property
    def mean_absolute(self) -> float:
        """Mean of abs(r) over pairs of different layers.

        Of independent layers it is about sqrt(2 / (pi n)): 0.04 for n = 400.
        """
        return self.mean_absolute_beyond(0)

    def mean_absolute_beyond(self, distance: int) -> float:
        """Return the mean of abs(r) over layers more than ``distance`` apart; nan for no pair."""
        r = self.matrix[np.triu_indices(len(self.names), distance + 1)]
        return float(np.abs(r).mean()) if len(r) else float("nan")

    @property
    def mean_square(self) -> float:
        """Mean of rho^2 over pairs of different layers, corrected for sampling; may fall below 0.

        Each r^2 is replaced by (r^2 (n - 1) - 1) / (n - 2), the adjusted coefficient of
        determination: without bias for independent layers, where E r^2 = 1 / (n - 1), and for
        perfectly correlated ones, with a bias of order 1/n between.

        References:
            Methods of Correlation Analysis (Ezekiel, 1930)
        """
        r = self.matrix[np.triu_indices(len(self.names), 1)]
        return float(((r**2 * (self.rows - 1) - 1) / (self.rows - 2)).mean())

    @property
    def effective_number(self) -> float:
        """K^2 / sum_ij rho_ij^2 by corrected squares, at most K."""
        K = len(self.names)
        return K / max(1 + (K - 1) * self.mean_square, 1)


def correlate(features: Features, names: Sequence[str] | None = None) -> Correlation:
    """Return the correlations of the layers' log norms.

    Rows with a value that is not finite are left out. So are layers that are constant over the
    rows, with a line in the log.

    Arguments:
        features: N rows.
        names: layers to take; by default those that are informative on these very rows.

    Raises:
        ValueError: where fewer than three rows or two layers are left, or a layer is missing.
    """
    if names is None:
        kept = informative(features.select(~strange(features)))
        names = [name for name, keep in zip(features.names, kept, strict=True) if keep]
    values = features.columns(names).values
    fine = np.isfinite(values).all(1) & ~strange(features)
    y = values[fine]
    if len(y) < 3:
        raise ValueError(
            f"{len(y)} of {len(features)} rows are finite in all {len(names)} layers; correlations "
            "need three at least"
        )
    moving = np.ptp(y, axis=0) > 0
    if not moving.all():
        constant = [name for name, moves in zip(names, moving, strict=True) if not moves]
        logger.info("no correlation with layers that are constant: %s", ", ".join(constant))
    if moving.sum() < 2:
        raise ValueError(f"{moving.sum()} of {len(names)} layers vary; correlations need two")
    z = y[:, moving] - y[:, moving].mean(0)
    z /= np.sqrt((z**2).sum(0))
    matrix = np.clip(z.T @ z, -1, 1)
    np.fill_diagonal(matrix, 1.0)
    kept_names = tuple(name for name, moves in zip(names, moving, strict=True) if moves)
    return Correlation(matrix, kept_names, len(y), int((~fine).sum()))
