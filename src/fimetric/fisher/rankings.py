"""Do several scores rank the same samples alike?

Spearman's correlation, of the ranks of two scores over the same N samples, is 1 where they order
them alike; what monotone function of a score is taken does not matter.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from fimetric.metrics import Estimate
from fimetric.typing import Array


def rank_correlations(scores: ArrayLike) -> Array:
    """Return Spearman's correlations (R, R) between R scores of the same samples.

    Ties share their mean rank. A score that is the same for all samples ranks nothing; its
    correlations are nan.

    Arguments:
        scores: (R, N), N >= 2; +inf is a score like any other.

    Raises:
        ValueError: for another shape, or nan.

    References:
        The Proof and Measurement of Association between Two Things (Spearman, 1904)
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"scores have shape {values.shape}; pass (R, N), two samples at least")
    if np.isnan(values).any():
        raise ValueError("scores hold nan; a score is a number or +inf")
    ranks = rankdata(values, axis=1)
    centred = ranks - ranks.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    with np.errstate(invalid="ignore"):
        return centred @ centred.T / np.outer(lengths, lengths)


def mean_correlation(
    scores: ArrayLike, pairs: Sequence[tuple[int, int]], repeats: int = 200, seed: int = 0
) -> Estimate:
    """Return the mean rank correlation over pairs of scores, with its 95% bootstrap interval.

    Samples are resampled, the same ones in all scores; the interval says nothing of the choice of
    models.

    Arguments:
        scores: (R, N).
        pairs: rows to compare, at least one pair.
        repeats: number of resamplings.
        seed: of the resampling.
    """
    values, (left, right) = np.asarray(scores, dtype=np.float64), np.array(pairs).T
    value = float(rank_correlations(values)[left, right].mean())
    random, N = np.random.default_rng(seed), values.shape[1]
    drawn = [
        rank_correlations(values[:, random.integers(N, size=N)])[left, right].mean()
        for _ in range(repeats)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if repeats else (value, value)
    return Estimate(value, min(value, float(low)), max(value, float(high)))
