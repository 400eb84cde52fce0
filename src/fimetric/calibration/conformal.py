"""From scores to p-values and decisions: split conformal calibration.

With n in-distribution scores set aside, p(s) = (1 + #{calibration >= s}) / (n + 1).

For groups exchangeable with the calibration groups P(p <= a) <= a, on average over calibration
sets. It promises nothing for data that is not exchangeable with them: streams that drift,
neighbours or duplicates of one another, data the model or the density was fitted on. p-values
against one calibration set share its luck and depend on each other.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from fimetric.calibration.shares import (
    check_fraction,
    one_dimensional,
    rounded_up,
)
from fimetric.typing import Array

CDF_ROUNDING = 1e-12  # of scipy's beta distribution, relative


class Calibration:
    """The scores of in-distribution groups set aside, and the tests made of them.

    Arguments:
        scores: (n,) scores, higher = more anomalous, n >= 1; +inf is allowed, nan is not.

    Raises:
        ValueError: where there are none, or one is nan.

    References:
        Algorithmic Learning in a Random World (Vovk, Gammerman, Shafer, 2005)

    Example:
        >>> calibration = Calibration(range(19))
        >>> calibration.p_value([-1, 17.5, 100])
        array([1.  , 0.1 , 0.05])
        >>> calibration.reject([-1, 17.5, 100], alpha=0.05)
        array([False, False,  True])
    """

    def __init__(self, scores: ArrayLike) -> None:
        """Check and sort the scores.

        Raises:
            ValueError: for no scores, nan, or more than one dimension.
        """
        self.scores = np.sort(one_dimensional("calibration scores", scores))
        if not len(self.scores):
            raise ValueError("no calibration scores; set in-distribution data aside for them")

    def __len__(self) -> int:
        """Return the number n of calibration scores."""
        return len(self.scores)

    @property
    def smallest_p(self) -> float:
        """The smallest p-value there can be, 1 / (n + 1)."""
        return 1 / (len(self) + 1)

    def p_value(self, scores: ArrayLike) -> Array:
        """Return conformal p-values (N,) of scores (N,); ties count as at least as anomalous.

        Raises:
            ValueError: where a score is nan.
        """
        scores = one_dimensional("scores", scores)
        at_least = len(self) - np.searchsorted(self.scores, scores, side="left")
        return (1 + at_least) / (len(self) + 1)

    def threshold(self, alpha: float, confidence: float | None = None) -> float:
        """Return the calibration score above which (strictly) a score is rejected.

        Arguments and errors are those of ``reject``.
        """
        k = self._rank(alpha) if confidence is None else self._confident_rank(alpha, confidence)
        return float(self.scores[len(self) - k])

    def reject(
        self, scores: ArrayLike, alpha: float, confidence: float | None = None
    ) -> NDArray[np.bool_]:
        """Decide (N,) which scores (N,) are out of distribution: True where rejected.

        Scores strictly above the k-th largest calibration score are rejected. The false-alarm rate
        of one calibration set of continuous scores then follows Beta(k, n + 1 - k), and ties only
        lower it.

        Arguments:
            scores: (N,) scores, none of them nan.
            alpha: false-alarm rate, in (0, 1).
            confidence: None takes the largest k with k / (n + 1) <= alpha, that is p <= alpha: the
                rate is at most alpha on average over calibration sets. A number c in (0, 1) takes
                the largest k for which the rate of this very set is at most alpha in a
                fraction c of all calibration sets.

        Raises:
            ValueError: where there are too few calibration scores, saying how many are needed.

        References:
            Conditional validity of inductive conformal predictors (Vovk, 2012), arXiv:1209.2673
        """
        return one_dimensional("scores", scores) > self.threshold(alpha, confidence)

    def _rank(self, alpha: float) -> int:
        check_fraction("alpha", alpha)
        n = len(self)
        if self.smallest_p > rounded_up(alpha):
            raise ValueError(
                f"alpha={alpha} is below the smallest possible p-value 1/(n + 1) = "
                f"{self.smallest_p:.3g} of n={n} calibration scores, so nothing could ever be "
                f"rejected; calibrate on at least {math.ceil(1 / alpha - 1e-9) - 1}"
            )
        return int((np.arange(1, n + 1) / (n + 1) <= rounded_up(alpha)).sum())

    def _confident_rank(self, alpha: float, confidence: float) -> int:
        check_fraction("alpha", alpha)
        check_fraction("confidence", confidence)
        n = len(self)
        ranks = np.arange(1, n + 1)
        kept = beta.cdf(alpha, ranks, n + 1 - ranks)
        k = int((kept >= confidence * (1 - CDF_ROUNDING)).sum())
        if k == 0:
            needed = math.ceil(math.log1p(-confidence) / math.log1p(-alpha) - 1e-9)
            raise ValueError(
                f"n={n} calibration scores are too few to keep the false-alarm rate at or below "
                f"alpha={alpha} with confidence={confidence}; calibrate on at least {needed}"
            )
        return k
