"""Intervals for AUROC against independent formulas and loops."""

import numpy as np
import pytest

from fimetric.judging.intervals import counts, hanley, placements, resampled_areas
from fimetric.metrics import auroc


def standard_error(area, n, m):
    """Newcombe's form of Hanley and McNeil's, written out."""
    mean = (n + m) / 2 - 1
    inside = 1 + mean * (1 - area) / (2 - area) + mean * area / (1 + area)
    return np.sqrt(area * (1 - area) * inside / (n * m))


@pytest.mark.parametrize(("area", "n", "m"), [(0.9, 50, 80), (0.5, 10, 10), (0.99, 500, 500)])
def test_the_ends_are_the_areas_at_a_distance_of_z_deviations(area, n, m):
    low, high = hanley(area, n, m)
    assert area - low == pytest.approx(1.959964 * standard_error(low, n, m), rel=1e-6)
    assert high - area == pytest.approx(1.959964 * standard_error(high, n, m), rel=1e-6)


def test_there_is_a_width_at_the_ceiling_and_the_floor():
    low, high = hanley(1.0, 25, 25)
    assert high == 1 and 1 - low == pytest.approx(1.959964 * standard_error(low, 25, 25), rel=1e-6)
    assert hanley(0.0, 25, 25).high == pytest.approx(1 - low, rel=1e-6)
    assert hanley(1.0, 500, 500).low > hanley(1.0, 25, 25).low
    assert hanley(1.0, 1, 1).low < 0.3


def test_it_covers_where_scores_are_gaussian():
    random, shift, inside = np.random.default_rng(0), 2.0, 0
    true = 0.921350  # of the normal distribution function at the square root of 2
    for _ in range(300):
        found = auroc(random.normal(size=40), random.normal(shift, size=40))
        low, high = hanley(found, 40, 40)
        inside += low <= true <= high
    assert 0.92 <= inside / 300 <= 0.99


def test_resampled_areas_are_those_of_the_resamples():
    random = np.random.default_rng(1)
    own, other = random.integers(6, size=9).astype(float), random.integers(8, size=7).astype(float)
    other[0] = np.inf
    drawn, theirs = counts(9, 20, 0), counts(7, 20, 1)
    found = resampled_areas(own, other, drawn, theirs)
    for r in range(20):
        a, b = np.repeat(own, drawn[r].astype(int)), np.repeat(other, theirs[r].astype(int))
        assert found[r] == pytest.approx(auroc(a, b), abs=1e-12)


def test_ties_count_half_and_infinities_are_scores():
    np.testing.assert_array_equal(
        placements(np.array([0.0, np.inf]), np.array([0.0, np.inf, 1.0])),
        [[0.5, 1, 1], [0, 0.5, 0]],
    )


def test_counts_are_of_draws_with_replacement_and_seeded():
    found = counts(5, 1000, 3)
    assert (found.sum(1) == 5).all() and abs(found.mean() - 1) < 1e-12
    assert abs((found == 0).mean() - 0.8**5) < 0.02
    np.testing.assert_array_equal(found, counts(5, 1000, 3))
