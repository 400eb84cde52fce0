"""What a detector has learned of tables, apart from any model: trend, density, calibration.

Length must not decide: the density sees rows brought to one length, see
``fimetric.features.length``, and a score is compared with the calibration scores of about its
length. Where all rows are of one length, neither changes anything.
"""

import logging
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fimetric.calibration import Calibration
from fimetric.detectors import Density
from fimetric.features.length import LengthTrend, lengths
from fimetric.features.table import Features
from fimetric.typing import Array

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """Scores and judges rows of features.

    Arguments:
        density: of rows at one length.
        trend: brings them there; None where the fitted ones are of one length.
        calibration: of the scores; None before there is one.
    """

    density: Density
    trend: LengthTrend | None
    calibration: Calibration | None = None

    @classmethod
    def fit(cls, density: Density, table: Features) -> Self:
        """Learn the trend, and fit the density on what it leaves."""
        made = cls(density, LengthTrend.fit(table))
        density.fit(made.levelled(table))
        return made

    def levelled(self, table: Features) -> Features:
        """Return rows as the density sees them."""
        return table if self.trend is None else self.trend.residuals(table)

    def scores(self, table: Features) -> Array:
        """Return scores (N,), higher = more anomalous."""
        return self.density.score(self.levelled(table))

    def calibrated(self, table: Features, edges: ArrayLike | None = None) -> Calibration:
        """Return a calibration on rows, in bins of length, between edges where they are given."""
        if edges is None:
            return Calibration(self.scores(table), lengths(table))
        return Calibration.in_bins(self.scores(table), lengths(table), edges)

    def p_value(self, table: Features) -> Array:
        """Return conformal p-values (N,)."""
        self._warn(table)
        return self.known.p_value(self.scores(table), self._lengths(table))

    def reject(self, table: Features, alpha: float, confidence: float | None) -> NDArray[np.bool_]:
        """Return decisions (N,), see ``Calibration.reject``."""
        self._warn(table)
        return self.known.reject(self.scores(table), alpha, confidence, self._lengths(table))

    def columns(
        self, table: Features, alpha: float, confidence: float | None
    ) -> tuple[Array, Array, NDArray[np.bool_], Array, NDArray[np.bool_]]:
        """Return scores, p-values, decisions, lengths, and which lengths are outside, each (N,)."""
        scores, known = self.scores(table), self._lengths(table)
        p = self.known.p_value(scores, known)
        rejected = self.known.reject(scores, alpha, confidence, known)
        return scores, p, rejected, lengths(table), self._outside(table)

    def warn(self, outside: int, rows: int) -> None:
        """Say once of all rows that some are of other lengths than those calibrated on."""
        if outside and self.known.covariate is not None:
            logger.warning(
                "%d of %d are shorter or longer than all that the detector was calibrated on (%g "
                "to %g) and are judged as the nearest of these; fit on such lengths too",
                outside,
                rows,
                self.known.covariate.min(),
                self.known.covariate.max(),
            )

    @property
    def known(self) -> Calibration:
        """The calibration.

        Raises:
            RuntimeError: before there is one.
        """
        if self.calibration is None:
            raise RuntimeError("the detector is not fitted: call fit first")
        return self.calibration

    def _warn(self, table: Features) -> None:
        self.warn(int(self._outside(table).sum()), len(table))

    def _lengths(self, table: Features) -> Array | None:
        """Return the lengths of rows (N,), None where it was calibrated without any."""
        return None if self.known.covariate is None else lengths(table)

    def _outside(self, table: Features) -> NDArray[np.bool_]:
        """Mark the rows (N,) of lengths beyond those calibrated on; none if these are unknown."""
        found = self._lengths(table)
        return np.zeros(len(table), bool) if found is None else self.known.outside(found)
