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

from fimetric.arguments import numbers, real

Array = NDArray[np.float64]

# A share such as 1 - 0.9 falls short of .1 by the rounding of a number near 1, and products and
# quotients of shares by a few units in their last place. p-values are counts over n + 1, and often
# lie exactly on alpha: such a one is to be rejected, and no other is as near.
SHARE_ROUNDING = 2.0**-53
RELATIVE_ROUNDING = 2.0**-50
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
        """Check and sort the scores."""
        self.scores = np.sort(_one_dimensional("calibration scores", scores))
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
        scores = _one_dimensional("scores", scores)
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
        return _one_dimensional("scores", scores) > self.threshold(alpha, confidence)

    def _rank(self, alpha: float) -> int:
        _check_fraction("alpha", alpha)
        n = len(self)
        if self.smallest_p > rounded_up(alpha):
            raise ValueError(
                f"alpha={alpha} is below the smallest possible p-value 1/(n + 1) = "
                f"{self.smallest_p:.3g} of n={n} calibration scores, so nothing could ever be "
                f"rejected; calibrate on at least {math.ceil(1 / alpha - 1e-9) - 1}"
            )
        return int((np.arange(1, n + 1) / (n + 1) <= rounded_up(alpha)).sum())

    def _confident_rank(self, alpha: float, confidence: float) -> int:
        _check_fraction("alpha", alpha)
        _check_fraction("confidence", confidence)
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


def benjamini_hochberg(p: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Mark (m,) which of m tests to reject so that the false discovery rate is at most alpha.

    With p_(i) the i-th smallest and k the largest i for which p_(i) <= alpha i / m, the k smallest
    are rejected. Equal but for rounding counts as equal: the rate is exceeded by 2^-50 of it, or by
    2^-53, at most. Conformal p-values against one calibration set are positively dependent, and the
    bound holds for them.

    Arguments:
        p: (m,) p-values in [0, 1]; m = 0 is allowed.
        alpha: share of false alarms among the rejected, in expectation, in (0, 1).

    Raises:
        ValueError: where a p-value is nan or outside [0, 1].

    References:
        Controlling the False Discovery Rate (Benjamini, Hochberg, 1995), JRSS B 57(1).
        Testing for Outliers with Conformal p-values
        (Bates, Candes, Lei, Romano, Sesia, 2023), arXiv:2104.08279

    Example:
        >>> benjamini_hochberg([0.01, 0.9, 0.03, 0.04], alpha=0.06)
        array([ True, False,  True,  True])
    """
    p = _one_dimensional("p-values", p)
    _check_fraction("alpha", alpha)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p-values must lie in [0, 1]; pass p_value(...), not scores")
    ordered, ranks = np.sort(p), np.arange(1, len(p) + 1)
    below = np.flatnonzero(ordered <= rounded_up(alpha) * ranks / max(len(p), 1))
    if not len(below):
        return np.zeros(len(p), dtype=bool)
    return p <= ordered[below[-1]]


def rounded_up(share: float) -> float:
    """Return the largest number that a share can have been before it was rounded.

    >>> 1 - 0.9 >= 0.1, rounded_up(1 - 0.9) >= 0.1
    (False, True)
    """
    return share * (1 + RELATIVE_ROUNDING) + SHARE_ROUNDING


def _one_dimensional(what: str, values: ArrayLike) -> Array:
    array = numbers(what, values)
    if array.ndim != 1:
        raise ValueError(f"{what} have shape {array.shape}; pass one dimension")
    if np.isnan(array).any():
        raise ValueError(f"{what} hold nan, at index {int(np.flatnonzero(np.isnan(array))[0])}")
    return array


def _check_fraction(name: str, value: float) -> None:
    if not 0 < real(name, value) < 1:
        percent = f"; {value} percent is {value / 100:g}" if 1 <= value < 100 else ""
        raise ValueError(f"{name} is {value}; it must lie strictly between 0 and 1{percent}")
