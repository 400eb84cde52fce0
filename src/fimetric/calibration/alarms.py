"""How many false alarms exchangeable data give."""

import math

from scipy.stats import betabinom

from fimetric.calibration.shares import rounded_up


def false_alarms(calibrated: int, tested: int, alpha: float, confidence: float) -> tuple[int, int]:
    """Return between which numbers of false alarms lie, with this probability.

    Of n calibration groups and m tested ones, all exchangeable and their scores different, the
    number at level alpha is beta-binomial: k = floor(alpha (n + 1)) of the n + 1 places in the
    order of the calibration scores are alarms.

    Arguments:
        calibrated: n.
        tested: m.
        alpha: the level.
        confidence: the probability; the rest is shared by both ends.

    References:
        Testing for Outliers with Conformal p-values (Bates, Candes, Lei, Romano and Sesia, 2021),
        arXiv:2104.08279
    """
    k = math.floor(rounded_up(alpha) * (calibrated + 1))
    if k == 0:
        return 0, 0
    law = betabinom(tested, k, calibrated + 1 - k)
    rest = (1 - confidence) / 2
    return int(law.ppf(rest)), int(law.ppf(1 - rest))
