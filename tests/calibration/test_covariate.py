"""p-values that hold in each bin of a covariate, such as length."""

import numpy as np
import pytest
from scipy import stats

from fimetric.calibration import Calibration
from fimetric.calibration.bins import LEAST, edges_of, places_in


def dumb_p(calibration, covariate, edges, score, value):
    """Return the p-value of one score by counting in its bin."""
    own = [sum(value > e for e in edges) == sum(v > e for e in edges) for v in covariate]
    at_least = sum(c >= score for c, mine in zip(calibration, own, strict=True) if mine)
    return (1 + at_least) / (sum(own) + 1)


def test_p_value_against_a_dumb_count_in_the_bin():
    random = np.random.default_rng(0)
    scores, lengths = random.integers(0, 40, 433), random.integers(10, 300, 433)
    calibration = Calibration(scores, lengths)
    assert len(calibration.edges) == 3
    found, values = random.integers(-2, 42, 60), random.integers(1, 400, 60)
    expected = [
        dumb_p(scores, lengths, calibration.edges, s, v) for s, v in zip(found, values, strict=True)
    ]
    np.testing.assert_array_equal(calibration.p_value(found, values), expected)
    np.testing.assert_array_equal(
        calibration.reject(found, 0.1, covariate=values), np.array(expected) <= 0.1
    )
    thresholds = calibration.threshold(0.1, None, values)
    np.testing.assert_array_equal(found > thresholds, np.array(expected) <= 0.1)


@pytest.mark.parametrize("covariate", [None, np.full(250, 64.0)])
def test_one_value_gives_the_numbers_of_none(covariate):
    random = np.random.default_rng(1)
    scores, others = random.normal(size=250), random.normal(size=50)
    plain, found = Calibration(scores), Calibration(scores, covariate)
    np.testing.assert_array_equal(found.p_value(others), plain.p_value(others))
    assert found.threshold(0.07, 0.9) == plain.threshold(0.07, 0.9)
    assert found.smallest_p == plain.smallest_p == 1 / 251
    if covariate is not None:
        given = np.full(50, 64.0)
        np.testing.assert_array_equal(found.p_value(others, given), plain.p_value(others))
        np.testing.assert_array_equal(
            found.reject(others, 0.07, 0.9, given), plain.reject(others, 0.07, 0.9)
        )


@pytest.mark.parametrize(
    ("covariate", "counts"),
    [
        (np.arange(500), [100] * 5),
        (np.arange(5000), [1000] * 5),  # no more bins, but steadier ones
        (np.arange(300), [100] * 3),
        (np.arange(197), [197]),
        (np.repeat([5, 9], [400, 99]), [400, 99]),
        (np.repeat([5, 9], [400, 98]), [498]),
        (np.repeat([1, 2, 3, 4], [150, 30, 90, 400]), [150, 120, 400]),
        (np.repeat([1, 2, 3], [20, 960, 20]), [1000]),
        (np.repeat([7], [600]), [600]),
    ],
)
def test_equal_values_share_a_bin_and_small_bins_are_merged(covariate, counts):
    order = np.random.default_rng(2).permutation(len(covariate))
    edges = edges_of(covariate[order].astype(float))
    places = places_in(covariate, edges)
    np.testing.assert_array_equal(np.bincount(places), counts)
    assert len(counts) == 1 or min(counts) >= LEAST
    assert all(len(set(places[covariate == value])) == 1 for value in set(covariate))


def test_outside_is_judged_by_the_nearest_bin():
    scores = np.arange(200.0)  # the longer, the higher
    calibration = Calibration(scores, np.repeat([10, 20], 100))
    values = [1, 10, 14.9, 15.1, 20, 21]
    np.testing.assert_array_equal(
        calibration.outside(values), [True, False, False, False, False, True]
    )
    np.testing.assert_array_equal(
        calibration.p_value([150.0] * 6, values), np.array([1, 1, 1, 51, 51, 51]) / 101
    )
    assert calibration.smallest_p == 1 / 101


def test_false_alarms_hold_in_each_bin_where_those_of_all_do_not():
    """The score of a short text spreads five times as wide: each bin keeps its own rate."""
    random, sets, n = np.random.default_rng(3), 300, 240
    binned, pooled = [], []
    for _ in range(sets):
        lengths = np.repeat([16, 256], n // 2)
        spread = np.where(lengths == 16, 5.0, 1.0)
        calibration, new = random.normal(size=(2, n)) * spread
        binned.append(Calibration(calibration, lengths).reject(new, 0.1, covariate=lengths))
        pooled.append(Calibration(calibration).reject(new, 0.1))
    k, half = 12, n // 2  # 12 / 121 is the largest rank at or below .1
    law = stats.betabinom(half, k, half + 1 - k)
    for alarms in (np.array(binned)[:, :half].sum(1), np.array(binned)[:, half:].sum(1)):
        assert abs(alarms.mean() - law.mean()) < 4 * law.std() / np.sqrt(sets)
        assert 0.8 < alarms.std() / law.std() < 1.25
    assert np.array(pooled)[:, half:].mean() < 0.01 < 0.15 < np.array(pooled)[:, :half].mean()


def test_bins_of_the_callers():
    scores, lengths = np.arange(12.0), np.repeat([3, 5, 8], 4)
    calibration = Calibration.in_bins(scores, lengths, [3, 5])
    assert [list(own) for own in calibration.bins()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    np.testing.assert_array_equal(calibration.p_value([4.0, 4.0, 4.0], [3, 4, 9]), [0.2, 1, 1])
    for edges in ([5, 3], [3, 4], [9]):
        with pytest.raises(ValueError, match=r"must rise, and leave no bin without scores"):
            Calibration.in_bins(scores, lengths, edges)


@pytest.fixture(scope="module")
def binned():
    return Calibration(np.arange(300), np.arange(300) // 100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.p_value([1.0]), "calibrated with a covariate.*covariate="),
        (lambda c: c.reject([1.0], 0.05), "calibrated with a covariate"),
        (lambda c: c.threshold(0.05), "calibrated with a covariate"),
        (lambda c: c.p_value([1.0], [1, 2]), "covariate has 2 values for 1 scores"),
        (lambda c: c.reject([1.0], 0.05, covariate=[[1]]), r"shape \(1, 1\)"),
        (lambda c: c.outside([np.nan]), "hold nan, at index 0"),
        (lambda c: c.p_value([1.0], [np.inf]), "covariate is inf at index 0"),
        (lambda c: c.refuse(0.005), r"n=100 .* on at least 199 in each of the 3 bins$"),
        (lambda c: c.refuse(0.05, 0.999), r"n=100 .* on at least 135 in each of the 3 bins$"),
        (lambda _: Calibration([1.0, 2.0], [1]), "1 values for 2 calibration scores"),
        (lambda _: Calibration([1.0]).p_value([1.0], [1]), "without a covariate; leave it out"),
        (lambda _: Calibration([1.0]).outside([1.0]), "without a covariate"),
    ],
)
def test_misuse(binned, call, message):
    with pytest.raises(ValueError, match=message):
        call(binned)
