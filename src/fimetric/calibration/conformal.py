"""From scores to p-values and decisions: split conformal calibration.

With n in-distribution scores set aside, p(s) = (1 + #{calibration >= s}) / (n + 1). With a
covariate, such as length, n and the count are those of the bin of it that a score falls into, and
what follows holds bin by bin.

For groups exchangeable with the calibration groups P(p <= a) <= a, on average over calibration
sets. It promises nothing for data that is not exchangeable with them: streams that drift,
neighbours or duplicates of one another, data the model or the density was fitted on. p-values
against one calibration set share its luck and depend on each other.
"""

import math
from collections.abc import Iterator
from typing import Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from fimetric.calibration.bins import covariate_of, edges_of, places_in
from fimetric.calibration.shares import (
    check_fraction,
    one_dimensional,
    rounded_up,
)
from fimetric.typing import Array

CDF_ROUNDING = 1e-12  # of scipy's beta distribution, relative
NO_COVARIATE = "these scores were calibrated without a covariate; leave it out"


class Calibration:
    """The scores of in-distribution groups set aside, and the tests made of them.

    Arguments:
        scores: (n,) scores, higher = more anomalous, n >= 1; +inf is allowed, nan is not.
        covariate: (n,) finite numbers, such as lengths; None where there is none. Scores are
            compared with those in their bin of it alone: at most five bins between quantiles,
            merged until each has 99 scores. Values outside of all bins belong to the nearest.

    Raises:
        ValueError: where there are none, or one is nan, or a covariate of another shape.

    References:
        Algorithmic Learning in a Random World (Vovk, Gammerman, Shafer, 2005), of bins section 4.6

    Example:
        >>> calibration = Calibration(range(19))
        >>> calibration.p_value([-1, 17.5, 100])
        array([1.  , 0.1 , 0.05])
        >>> calibration.reject([-1, 17.5, 100], alpha=0.05)
        array([False, False,  True])
    """

    def __init__(self, scores: ArrayLike, covariate: ArrayLike | None = None) -> None:
        """Check and sort the scores.

        Raises:
            ValueError: for no scores, nan, more than one dimension, or another number of values of
                the covariate.
        """
        scores = one_dimensional("calibration scores", scores)
        if not len(scores):
            raise ValueError("no calibration scores; set in-distribution data aside for them")
        order = np.argsort(scores, kind="stable")
        self.scores: Array = scores[order]
        self.covariate: Array | None = None
        self.edges: Array = np.zeros(0)
        if covariate is not None:
            self.covariate = covariate_of(covariate, len(scores), "calibration scores")[order]
            self.edges = edges_of(self.covariate)

    @classmethod
    def in_bins(cls, scores: ArrayLike, covariate: ArrayLike, edges: ArrayLike) -> Self:
        """Return a calibration with bins of its caller's.

        Arguments:
            scores, covariate: see ``Calibration``.
            edges: (bins - 1,) numbers, rising: a bin goes up to its edge, that included.

        Raises:
            ValueError: for edges that do not rise, or leave a bin empty.
        """
        made = cls(scores, covariate)
        assert made.covariate is not None
        made.edges = one_dimensional("edges of bins", edges)
        if (np.diff(made.edges) <= 0).any() or not all(len(own) for own in made.bins()):
            raise ValueError(f"edges {made.edges} must rise, and leave no bin without scores")
        return made

    def __len__(self) -> int:
        """Return the number n of calibration scores."""
        return len(self.scores)

    def bins(self) -> list[Array]:
        """Return the calibration scores of each bin, sorted; all of them where there is but one."""
        if self.covariate is None or not len(self.edges):
            return [self.scores]
        places = places_in(self.covariate, self.edges)
        return [self.scores[places == place] for place in range(len(self.edges) + 1)]

    @property
    def smallest_p(self) -> float:
        """The smallest p-value there can be, 1 / (n + 1), in the bin with the fewest scores."""
        return 1 / (min(map(len, self.bins())) + 1)

    def outside(self, covariate: ArrayLike) -> NDArray[np.bool_]:
        """Mark (N,) which values of the covariate lie beyond all that were calibrated on.

        Raises:
            ValueError: for a calibration without covariate, or values that are not finite.
        """
        if self.covariate is None:
            raise ValueError(NO_COVARIATE)
        values = one_dimensional("the covariate's values", covariate)
        values = covariate_of(values, len(values), "scores")
        return np.asarray((values < self.covariate.min()) | (values > self.covariate.max()))

    def p_value(self, scores: ArrayLike, covariate: ArrayLike | None = None) -> Array:
        """Return conformal p-values (N,) of scores (N,); ties count as at least as anomalous.

        Arguments:
            scores: (N,) scores, none of them nan.
            covariate: (N,) values of what was calibrated with; it may be left out where that had
                one value.

        Raises:
            ValueError: where a score is nan, or the covariate is missing or of another shape.
        """
        scores = one_dimensional("scores", scores)
        p = np.empty(len(scores))
        for own, rows in self._bins_of(len(scores), covariate):
            at_least = len(own) - np.searchsorted(own, scores[rows], side="left")
            p[rows] = (1 + at_least) / (len(own) + 1)
        return p

    @overload
    def threshold(self, alpha: float, confidence: float | None = None) -> float: ...
    @overload
    def threshold(self, alpha: float, confidence: float | None, covariate: ArrayLike) -> Array: ...
    def threshold(
        self, alpha: float, confidence: float | None = None, covariate: ArrayLike | None = None
    ) -> float | Array:
        """Return the calibration score above which (strictly) a score is rejected.

        With a covariate (N,) it is that of each value's bin, (N,). Arguments and errors are those
        of ``reject``.
        """
        self.refuse(alpha, confidence)
        if covariate is None:
            ((own, _),) = self._bins_of(0, None)
            return float(own[len(own) - _rank(len(own), alpha, confidence)])
        values = one_dimensional("the covariate's values", covariate)
        found = np.empty(len(values))
        for own, rows in self._bins_of(len(values), values):
            found[rows] = own[len(own) - _rank(len(own), alpha, confidence)]
        return found

    def refuse(self, alpha: float, confidence: float | None = None) -> None:
        """Refuse a rate that a bin has too few scores for; see ``reject``.

        Raises:
            ValueError: saying how many are needed.
        """
        bins = self.bins()
        for own in bins:
            _rank(
                len(own), alpha, confidence, f" in each of the {len(bins)} bins" * (len(bins) > 1)
            )

    def reject(
        self,
        scores: ArrayLike,
        alpha: float,
        confidence: float | None = None,
        covariate: ArrayLike | None = None,
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
            covariate: (N,), see ``p_value``.

        Raises:
            ValueError: where there are too few calibration scores, saying how many are needed.

        References:
            Conditional validity of inductive conformal predictors (Vovk, 2012), arXiv:1209.2673
        """
        scores = one_dimensional("scores", scores)
        if covariate is None:
            return scores > self.threshold(alpha, confidence)
        values = covariate_of(covariate, len(scores), "scores")
        return scores > self.threshold(alpha, confidence, values)

    def _bins_of(
        self, number: int, covariate: ArrayLike | None
    ) -> Iterator[tuple[Array, NDArray[np.bool_]]]:
        """Yield the calibration scores of each bin, and which of some scores belong to it.

        Raises:
            ValueError: where the covariate is missing, of another shape or not wanted.
        """
        bins = self.bins()
        if covariate is None:
            if self.covariate is not None and np.ptp(self.covariate):
                raise ValueError(
                    "these scores were calibrated with a covariate, such as length; pass that of "
                    "the scores as covariate="
                )
            yield bins[0], np.ones(number, dtype=bool)
            return
        if self.covariate is None:
            raise ValueError(NO_COVARIATE)
        places = places_in(covariate_of(covariate, number, "scores"), self.edges)
        for place, own in enumerate(bins):
            yield own, places == place


def _rank(n: int, alpha: float, confidence: float | None, where: str = "") -> int:
    """Return k: what exceeds the k-th largest of n calibration scores is rejected.

    Raises:
        ValueError: where n is too small, saying what is needed; ``where`` ends the message.
    """
    check_fraction("alpha", alpha)
    ranks = np.arange(1, n + 1)
    if confidence is not None:
        return _confident_rank(ranks, alpha, confidence, where)
    if 1 / (n + 1) > rounded_up(alpha):
        raise ValueError(
            f"alpha={alpha} is below the smallest possible p-value 1/(n + 1) = {1 / (n + 1):.3g} "
            f"of n={n} calibration scores, so nothing could ever be rejected; calibrate on at "
            f"least {math.ceil(1 / alpha - 1e-9) - 1}{where}"
        )
    return int((ranks / (n + 1) <= rounded_up(alpha)).sum())


def _confident_rank(ranks: NDArray[np.int64], alpha: float, confidence: float, where: str) -> int:
    check_fraction("confidence", confidence)
    n = len(ranks)
    kept = beta.cdf(alpha, ranks, n + 1 - ranks)
    k = int((kept >= confidence * (1 - CDF_ROUNDING)).sum())
    if k == 0:
        needed = math.ceil(math.log1p(-confidence) / math.log1p(-alpha) - 1e-9)
        raise ValueError(
            f"n={n} calibration scores are too few to keep the false-alarm rate at or below "
            f"alpha={alpha} with confidence={confidence}; calibrate on at least {needed}{where}"
        )
    return k
