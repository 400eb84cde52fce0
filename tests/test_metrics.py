import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fimetric.metrics import Estimate, Interval, aupr, auroc, bootstrap, estimate, fpr_at_tpr

METRICS = [auroc, aupr, fpr_at_tpr]
CASES = [
    (np.random.default_rng(0).normal(size=40), np.random.default_rng(1).normal(0.7, 2, size=23)),
    (np.random.default_rng(2).integers(0, 6, 50), np.random.default_rng(3).integers(2, 9, 31)),
    ([1.0], [1.0]),
    ([1.0], [2.0]),
    ([2.0], [1.0]),
    (np.zeros(5), np.zeros(7)),
]


@pytest.mark.parametrize(("below", "above"), CASES)
def test_against_scikit_learn(below, above):
    truth, scores = np.r_[np.zeros(len(below)), np.ones(len(above))], np.r_[below, above]
    assert auroc(below, above) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert aupr(below, above) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


@pytest.mark.parametrize(("below", "above"), CASES)
@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.95, 1])
def test_against_brute_force(below, above, tpr):
    pairs = [(o > i) + (o == i) / 2 for i in below for o in above]
    assert auroc(below, above) == pytest.approx(np.mean(pairs), abs=1e-12)
    caught = [t for t in above if np.mean([o >= t for o in above]) >= tpr]
    assert fpr_at_tpr(below, above, tpr) == np.mean([i >= max(caught) for i in below])


@pytest.mark.parametrize("metric", METRICS)
def test_infinity_is_a_score_like_any_other(metric):
    below, above = [0.0, 1.0, np.inf], [np.inf, 0.5, 7.0, np.inf, 7.0]
    finite = [np.where(np.isinf(side), 100.0, side) for side in (below, above)]
    assert metric(below, above) == metric(*finite)


@pytest.mark.parametrize("metric", METRICS)
def test_a_monotone_map_changes_nothing(metric):
    below, above = CASES[0]
    assert metric(np.exp(below), np.exp(above)) == metric(below, above)


def test_the_ends_of_the_scale():
    assert auroc([0, 1], [2, 3]) == aupr([0, 1], [2, 3]) == 1
    assert fpr_at_tpr([0, 1], [2, 3]) == 0
    assert auroc([2, 3], [0, 1]) == 0
    assert fpr_at_tpr([2, 3], [0, 1]) == 1
    assert auroc(np.zeros(30), np.zeros(10)) == 0.5
    assert aupr(np.zeros(30), np.zeros(10)) == 0.25


def test_out_of_distribution_is_the_positive_class():
    # one OOD score on top of 9 ID scores, one below them all
    assert aupr(np.arange(9), [-1, 100]) == pytest.approx((1 + 2 / 11) / 2)
    assert fpr_at_tpr(np.arange(9), [-1, 100], tpr=0.5) == 0
    assert fpr_at_tpr(np.arange(9), [-1, 3], tpr=1e-12) == 6 / 9  # one at least
    assert fpr_at_tpr(np.arange(9), [-1, 100], tpr=0.51) == 1


def test_55_percent_of_a_hundred_is_55():
    assert 0.55 * 100 > 55  # in floating point
    assert fpr_at_tpr([44.5], np.arange(100), tpr=0.55) == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("below", "above", "message"),
    [
        ([], [1.0], "ID scores have shape"),
        ([1.0], [], "OOD scores have shape"),
        ([[1.0]], [1.0], "ID scores have shape"),
        ([np.nan], [1.0], "ID scores hold nan"),
        ([1.0], [np.nan], "OOD scores hold nan"),
    ],
)
def test_bad_scores(metric, below, above, message):
    with pytest.raises(ValueError, match=message):
        metric(below, above)
    with pytest.raises(ValueError, match=message):
        bootstrap(metric, below, above, repeats=2)


def test_bad_settings():
    with pytest.raises(ValueError, match="tpr is 0"):
        fpr_at_tpr([0], [1], tpr=0)
    with pytest.raises(ValueError, match="level=1"):
        bootstrap(auroc, [0], [1], level=1)
    with pytest.raises(ValueError, match="repeats=0"):
        bootstrap(auroc, [0], [1], repeats=0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    covered, random = 0, np.random.default_rng(5)
    for _ in range(100):
        below, above = random.normal(size=80), random.normal(1, 1, size=60)
        low, high = bootstrap(auroc, below, above, level=0.9, repeats=150)
        covered += low <= 0.7602499389065233 <= high  # Phi(1 / sqrt 2)
    # 100 trials at .9: three standard errors are 9; the percentile method itself is a little short
    assert 79 <= covered <= 99


def test_the_width_of_the_interval_is_that_of_the_metric():
    random = np.random.default_rng(6)
    below, above = random.normal(size=400), random.normal(1, 1, size=300)
    samples = [auroc(random.normal(size=400), random.normal(1, 1, size=300)) for _ in range(400)]
    low, high = bootstrap(auroc, below, above)
    assert high - low == pytest.approx(2 * 1.96 * np.std(samples), rel=0.2)


@pytest.mark.parametrize("metric", METRICS)
def test_the_seed_decides(metric):
    below, above = CASES[0]
    first = bootstrap(metric, below, above, repeats=50)
    assert bootstrap(metric, below, above, repeats=50) == first
    assert bootstrap(metric, below, above, repeats=50, seed=1) != first


@pytest.mark.parametrize("metric", METRICS)
def test_a_thousand_repeats_take_seconds(metric):
    random = np.random.default_rng(7)
    start = time.process_time()
    result = estimate(metric, random.normal(size=2500), random.normal(1, 1, size=1000))
    assert result.low <= result.value <= result.high
    assert time.process_time() - start < 6  # about one on one slow core


def test_text():
    assert str(Interval(0.9049, 0.927)) == "[0.905, 0.927]"
    assert f"{Estimate(0.9161, 0.9049, 0.927)}" == "0.916 [0.905, 0.927]"
    assert estimate(auroc, [0], [1], repeats=3) == (1.0, 1.0, 1.0)


def test_an_estimate_lies_in_its_interval():
    """AUPR of a detector that ranks everything the wrong way round: ties of resamples lift it."""
    found = estimate(aupr, np.arange(500.0) + 100, np.arange(80.0))
    assert found.low <= found.value <= found.high
