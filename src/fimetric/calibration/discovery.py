"""Many tests at once: which to reject so that few of the rejected are false alarms."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from fimetric.calibration.shares import check_fraction, one_dimensional, rounded_up


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
    p = one_dimensional("p-values", p)
    check_fraction("alpha", alpha)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p-values must lie in [0, 1]; pass p_value(...), not scores")
    if not len(p):
        return np.zeros(0, dtype=bool)
    rejected: NDArray[np.bool_] = false_discovery_control(p) <= rounded_up(alpha)
    return rejected
