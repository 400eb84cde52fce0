"""Empirical p-values of the columns and of the loss, joined into one."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.base import LayerDensity
from fimetric.features.table import Features
from fimetric.typing import Array


class CombinedTests(LayerDensity):
    r"""Creates Fisher's statistic of empirical p-values: of each column, and of the loss.

    .. math:: s = -2 \sum_k \log p_k, \qquad p_k = \frac{1 + \#\{i : t_{ik} \ge t_k\}}{n + 1}

    The statistics t are the columns themselves (large is strange), or two-sided
    p = 2 min(p, p of -t); and for the loss its distance from the mean in-distribution loss, which
    is the typicality test. The smallest p is 1/(n + 1), so what is beyond all fitting rows in all
    columns scores the same. The tests are dependent: a p-value of s comes from calibration only.

    Arguments:
        columns: to use, in all views, ``score`` for ``t=3/score`` too; all columns if None.
        two_sided: whether small values of a column are strange too.
        typicality: whether the loss is among the tests.

    References:
        Model-agnostic out-of-distribution detection using combined statistical tests (Bergamin,
        Mattei, Havtorn, Senetaire, Schmutz, Maaloe, Hauberg and Frellsen, 2022), arXiv:2203.01097,
        which joins the score statistic (or the discrepancy) of ``WhitenedGradient`` and typicality
    """

    name = "combined-tests"

    rows_: Array  # (K, n) fitted values, sorted
    losses_: Array  # (n,) distances of the fitted losses from their mean, sorted
    mean_: float  # the in-distribution mean loss

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        two_sided: bool = False,
        typicality: bool = True,
    ) -> None:
        self.columns = None if columns is None else list(columns)
        self.two_sided, self.typicality = two_sided, typicality

    def _chosen(self, features: Features) -> list[str]:
        wanted = self.columns or []
        found = [n for n in features.names if any(n == w or n.endswith(f"/{w}") for w in wanted)]
        return found or wanted

    def _combine(self, log_p: Array) -> Array:
        """Return scores (N,) of logarithms of p-values (N, tests)."""
        return -2 * log_p.sum(1)

    def fit(self, features: Features) -> Self:
        """Learn from in-distribution rows, N >= 2; see ``Density.fit``."""
        super().fit(features if self.columns is None else features.columns(self._chosen(features)))
        loss = features.group_losses.mean(1)
        self.mean_ = float(loss.mean())
        self.losses_ = np.sort(np.abs(loss - self.mean_))
        return self

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.rows_ = np.ascontiguousarray(np.sort(y, axis=0).T)

    def score(self, features: Features) -> Array:
        """Return scores (N,), higher = more anomalous; see ``Density.score``."""
        y, fine, _ = self._prepare(features)
        tests = [self._p(rows, t) for rows, t in zip(self.rows_, y.T, strict=True)]
        if self.typicality:
            distance = np.abs(features.group_losses.mean(1)[fine] - self.mean_)
            tests.append(upper(self.losses_, distance))
        scores = np.full(len(features), np.inf)
        scores[fine] = self._combine(np.log(np.stack(tests, 1)))
        return scores

    def _p(self, rows: Array, t: Array) -> Array:
        p = upper(rows, t)
        return np.minimum(1, 2 * np.minimum(p, upper(-rows[::-1], -t))) if self.two_sided else p


def upper(rows: Array, t: Array) -> Array:
    """Return the share (N,) of n sorted rows and t itself that is at or above t (N,)."""
    return (1 + len(rows) - np.searchsorted(rows, t, side="left")) / (len(rows) + 1)
