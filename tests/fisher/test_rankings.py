import numpy as np
import pytest
from scipy.stats import spearmanr

from fimetric.fisher.rankings import mean_correlation, rank_correlations


def scores(R: int = 4, N: int = 50) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=N) + np.linspace(0.1, 3, R)[:, None] * random.normal(size=(R, N))


def test_correlations_are_those_of_scipy_ties_and_infinities_included():
    values = scores().round(0)
    values[1, 3], values[2, :2] = np.inf, -np.inf
    found = rank_correlations(values)
    np.testing.assert_allclose(found, spearmanr(values, axis=1).statistic, atol=1e-12)
    np.testing.assert_allclose(np.diag(found), 1.0)


def test_monotone_functions_change_nothing_and_reversal_only_the_sign():
    values = scores(2)
    found = rank_correlations([values[0], np.exp(values[0]), -values[0], values[1]])
    assert found[0, 1] == pytest.approx(1.0) and found[0, 2] == pytest.approx(-1.0)
    assert found[0, 3] == pytest.approx(-found[2, 3]) == pytest.approx(found[1, 3])


def test_a_constant_score_ranks_nothing():
    found = rank_correlations([np.zeros(5), np.arange(5)])
    assert np.isnan(found[0]).all() and found[1, 1] == pytest.approx(1.0)


def test_mean_over_pairs_with_an_interval_that_holds_it():
    values, pairs = scores(), [(0, 1), (0, 2), (1, 3)]
    found = mean_correlation(values, pairs)
    each = rank_correlations(values)
    expected = (each[0, 1] + each[0, 2] + each[1, 3]) / 3
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high and found.low < found.high
    assert found == mean_correlation(values, pairs)  # seeded
    assert found != mean_correlation(values, pairs, seed=1)


def test_interval_covers_the_truth():
    """Bivariate normals of correlation 0.6: Spearman's is 6/pi asin(0.3)."""
    truth, random, hits = 6 / np.pi * np.arcsin(0.3), np.random.default_rng(1), 0
    for k in range(40):
        a, b = random.normal(size=(2, 200))
        found = mean_correlation([a, 0.6 * a + 0.8 * b], [(0, 1)], repeats=60, seed=k)
        hits += found.low <= truth <= found.high
    assert 33 <= hits <= 40  # 38 expected of 95% intervals


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], "pass"),
        ([[1.0], [2.0]], "two samples at least"),
        ([[1.0, np.nan], [1.0, 2.0]], "hold nan"),
    ],
)
def test_what_makes_no_sense_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        rank_correlations(values)
