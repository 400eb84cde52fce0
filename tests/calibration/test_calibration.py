import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fimetric.calibration import Calibration, benjamini_hochberg


def test_p_value_counts_ties_as_at_least_as_anomalous():
    calibration = Calibration([3.0, 1.0, 2.0, 2.0])
    p = calibration.p_value([0, 1, 1.5, 2, 2.5, 3, 4, np.inf, -np.inf])
    np.testing.assert_allclose(p, np.array([5, 5, 4, 4, 2, 2, 1, 1, 5]) / 5)
    assert calibration.smallest_p == 1 / 5
    assert len(calibration) == 4


def test_p_value_against_a_dumb_count():
    random = np.random.default_rng(0)
    calibration, scores = random.integers(0, 20, 57), random.integers(-2, 22, 100)
    expected = [(1 + sum(c >= s for c in calibration)) / 58 for s in scores]
    np.testing.assert_array_equal(Calibration(calibration).p_value(scores), expected)


def test_infinite_calibration_scores_are_counted():
    np.testing.assert_array_equal(Calibration([0.0, np.inf]).p_value([np.inf, 1]), [2 / 3, 2 / 3])


@pytest.mark.parametrize("scores", [[], [[1.0]], 1.0, [1.0, np.nan]])
def test_bad_calibration_scores(scores):
    with pytest.raises(ValueError, match="calibration scores"):
        Calibration(scores)


def test_one_calibration_score_and_no_scores():
    calibration = Calibration([1.0])
    np.testing.assert_array_equal(calibration.p_value([0, 2]), [1, 0.5])
    np.testing.assert_array_equal(calibration.reject([0, 1, 2], alpha=0.5), [False, False, True])
    assert calibration.p_value([]).shape == (0,)
    assert calibration.reject([], alpha=0.5).shape == (0,)


def test_nan_scores_are_refused():
    calibration = Calibration(range(100))
    with pytest.raises(ValueError, match="scores hold nan, at index 1"):
        calibration.p_value([0, np.nan])
    with pytest.raises(ValueError, match="scores hold nan"):
        calibration.reject([0, np.nan], alpha=0.1)


@pytest.mark.parametrize("n", [9, 19, 29, 50, 99, 100])
@pytest.mark.parametrize("alpha", [0.1, 0.15, 0.3, 0.5, 0.99])
def test_reject_is_p_at_most_alpha(n, alpha):
    random = np.random.default_rng(n)
    calibration = Calibration(random.integers(0, 30, n))
    scores = np.append(random.integers(-2, 33, 50), [np.inf, -np.inf])
    expected = calibration.p_value(scores) <= alpha
    np.testing.assert_array_equal(calibration.reject(scores, alpha), expected)
    assert expected.any()


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 19), (0.1, 9), (0.01, 99), (0.03, 33)])
def test_too_small_an_alpha_says_how_many_samples_it_takes(alpha, needed):
    with pytest.raises(ValueError, match=rf"1/\(n \+ 1\) = .* n={needed - 1} .*least {needed}"):
        Calibration(range(needed - 1)).reject([0.0], alpha)
    assert Calibration(range(needed)).reject([1e9], alpha) == [True]


@pytest.mark.parametrize(
    ("alpha", "confidence", "needed"), [(0.05, 0.95, 59), (0.1, 0.9, 22), (0.5, 0.5, 1)]
)
def test_too_few_for_the_confidence_says_how_many_it_takes(alpha, confidence, needed):
    if needed > 1:
        with pytest.raises(ValueError, match=rf"n={needed - 1} .* at least {needed}$"):
            Calibration(range(needed - 1)).reject([0.0], alpha, confidence)
    assert Calibration(range(needed)).reject([1e9], alpha, confidence) == [True]


@pytest.mark.parametrize("value", [0, 1, -0.1, 5, np.nan])
def test_fractions_are_checked(value):
    calibration = Calibration(range(100))
    with pytest.raises(ValueError, match="alpha is"):
        calibration.reject([0.0], alpha=value)
    with pytest.raises(ValueError, match="alpha is"):
        calibration.reject([0.0], alpha=value, confidence=0.9)
    with pytest.raises(ValueError, match="confidence is"):
        calibration.reject([0.0], alpha=0.1, confidence=value)
    with pytest.raises(ValueError, match="alpha is"):
        benjamini_hochberg([0.5], alpha=value)


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_held_out_rejections_follow_the_beta_binomial(alpha):
    n, m, splits = 250, 400, 200
    scores = np.random.default_rng(1).gumbel(size=n + m)
    k = math.floor(alpha * (n + 1))
    counts = []
    for seed in range(splits):
        shuffled = np.random.default_rng(seed).permutation(scores)
        counts.append(Calibration(shuffled[:n]).reject(shuffled[n:], alpha).sum())
    law = stats.betabinom(m, k, n + 1 - k)
    low, high = law.interval(0.99)
    assert low <= counts[0] <= high
    inside = ((counts >= low) & (counts <= high)).sum()
    assert inside >= stats.binom.ppf(0.001, splits, 0.99)
    error = law.std() / m / np.sqrt(splits)
    assert abs(np.mean(counts) / m - k / (n + 1)) < 3 * error


# One share, exactly and as three people would have it computed.
SHARES = st.sampled_from([1000, 100, 20, 10, 3]).flatmap(
    lambda q: st.integers(1, q - 1).flatmap(
        lambda r: st.tuples(
            st.just(Fraction(r, q)), st.sampled_from([r / q, 1 - (q - r) / q, r * (1 / q)])
        )
    )
)


@settings(deadline=None, max_examples=40)
@given(SHARES, st.integers(1, 3000))
def test_rank_is_that_of_exact_arithmetic(share, n):
    exact, alpha = share
    k = math.floor(exact * (n + 1))
    calibration = Calibration(range(n))
    if k == 0:
        with pytest.raises(ValueError, match=f"on at least {math.ceil(1 / exact) - 1}$"):
            calibration.threshold(alpha)
    else:
        assert calibration.threshold(alpha) == n - k


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), SHARES, st.data())
def test_confident_rank_is_that_of_exact_arithmetic(n, share, data):
    exact, alpha = share
    # P(rate <= alpha) for each rank k: at least k of n uniform scores lie in the upper alpha
    terms = [math.comb(n, j) * exact**j * (1 - exact) ** (n - j) for j in range(n + 1)]
    kept = [sum(terms[k:]) for k in range(1, n + 1)]
    confidence = data.draw(st.sampled_from([c for c in kept if 0.5 <= c < 0.9999] or [0]))
    if confidence:  # it lies on the line of its rank exactly
        threshold = Calibration(range(n)).threshold(alpha, float(confidence))
        assert threshold == n - sum(c >= confidence * (1 - Fraction(1, 10**11)) for c in kept)


@pytest.mark.parametrize(("alpha", "confidence"), [(0.05, 0.95), (0.1, 0.9), (0.1, 0.5)])
def test_confidence_holds_over_calibration_sets(alpha, confidence):
    sets, n = 2000, 150
    uniform = np.random.default_rng(2).uniform(size=(sets, n))  # so 1 - threshold is the true rate
    rates = np.array([1 - Calibration(row).threshold(alpha, confidence) for row in uniform])
    exceeded = (rates > alpha).sum()
    assert exceeded <= stats.binom.ppf(0.999, sets, 1 - confidence)
    # one rank further up would break the promise: the threshold is no looser than it has to be
    k = round((1 - Calibration(np.arange(n) / n).threshold(alpha, confidence)) * n)
    assert stats.beta.ppf(confidence, k, n + 1 - k) <= alpha
    assert stats.beta.ppf(confidence, k + 1, n - k) > alpha


def test_confidence_is_stricter_than_the_average():
    calibration = Calibration(range(1000))
    assert calibration.threshold(0.05, 0.95) > calibration.threshold(0.05)


def dumb_benjamini_hochberg(p, alpha):
    m = len(p)
    for k in range(m, 0, -1):
        cut = sorted(p)[k - 1]
        if cut <= alpha * k / m:
            return [value <= cut for value in p]
    return [False] * m


def test_benjamini_hochberg_against_a_dumb_one():
    random = np.random.default_rng(3)
    rejected = 0
    for _ in range(300):
        p = random.integers(1, 41, size=random.integers(1, 30)) / 40 * random.choice([1, 0.2])
        expected = dumb_benjamini_hochberg(list(p), 0.2)
        np.testing.assert_array_equal(benjamini_hochberg(p, 0.2), expected)
        np.testing.assert_array_equal(expected, stats.false_discovery_control(p) <= 0.2 + 1e-12)
        rejected += sum(expected)
    assert rejected > 100


@settings(deadline=None, max_examples=40)
@given(SHARES, st.integers(1, 60), st.sampled_from([20, 100, 300, 1000]), st.data())
def test_benjamini_hochberg_is_that_of_exact_arithmetic(share, m, steps, data):
    exact, alpha = share
    counts = data.draw(st.lists(st.integers(1, steps), min_size=m, max_size=m))
    i = data.draw(st.integers(1, m))
    line = exact * i / m * steps
    if line >= 1:  # i p-values on the line, or next to it
        counts[:i] = [math.floor(line)] * i
    p = [Fraction(count, steps) for count in counts]
    k = max((k for k in range(1, m + 1) if sorted(p)[k - 1] <= exact * k / m), default=0)
    expected = [k > 0 and value <= sorted(p)[k - 1] for value in p]
    found = benjamini_hochberg(np.array(counts) / steps, alpha)
    np.testing.assert_array_equal(found, expected)


def test_benjamini_hochberg_on_the_example_of_1995():
    # Benjamini and Hochberg (1995), section 3.2: 15 p-values, four rejected at q = .05
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    np.testing.assert_array_equal(np.flatnonzero(benjamini_hochberg(p, 0.05)), [0, 1, 2, 3])


def test_benjamini_hochberg_keeps_the_false_discovery_rate():
    random, share = np.random.default_rng(4), []
    for _ in range(300):
        calibration = Calibration(random.normal(size=500))
        scores = np.append(random.normal(size=80), random.normal(4, 1, size=20))
        found = benjamini_hochberg(calibration.p_value(scores), 0.2)
        share.append(found[:80].sum() / max(found.sum(), 1))
        assert found[80:].any()
    error = np.std(share) / np.sqrt(300)
    assert abs(np.mean(share) - 0.2 * 0.8) < 3.5 * error  # alpha times the share of true nulls


def test_benjamini_hochberg_awkward():
    assert benjamini_hochberg([], 0.1).shape == (0,)
    np.testing.assert_array_equal(benjamini_hochberg([0.05], 0.05), [True])
    np.testing.assert_array_equal(benjamini_hochberg([1.0, 1.0], 0.5), [False, False])
    for p, message in (([np.nan], "hold nan"), ([1.1], "lie in"), ([-0.1], "lie in")):
        with pytest.raises(ValueError, match=message):
            benjamini_hochberg(p, 0.1)
    with pytest.raises(ValueError, match="one dimension"):
        benjamini_hochberg([[0.1]], 0.1)
