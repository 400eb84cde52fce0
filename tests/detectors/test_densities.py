"""Each density against its formula, by scipy or by hand."""

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.covariance import LedoitWolf

from fimetric.detectors import (
    ChiSquare,
    Density,
    FishersMethod,
    FullGaussian,
    LayerwiseGaussian,
    Likelihood,
    SumOfNorms,
    Typicality,
)


@pytest.fixture
def fitting(make_features):
    return make_features(N=50, J=4, group_size=2)


@pytest.fixture
def scored(make_features):
    return make_features(N=8, J=4, group_size=2, seed=1)


def test_layerwise_gaussian(fitting, scored):
    log_density = stats.norm.logpdf(scored.values, fitting.values.mean(0), fitting.values.std(0))
    density = LayerwiseGaussian().fit(fitting)
    np.testing.assert_allclose(density.score(scored), -log_density.sum(1), rtol=1e-12)
    np.testing.assert_allclose(density.explain(scored), -log_density, rtol=1e-12)


def test_full_gaussian(fitting, scored):
    mean, deviation = fitting.values.mean(0), fitting.values.std(0)
    R = LedoitWolf().fit((fitting.values - mean) / deviation).covariance_
    covariance = deviation[:, None] * R * deviation
    expected = -stats.multivariate_normal(mean, covariance).logpdf(scored.values)
    density = FullGaussian().fit(fitting)
    np.testing.assert_allclose(density.score(scored), expected, rtol=1e-10)
    assert 0 < density.shrinkage_ < 1
    assert np.linalg.norm(R - np.eye(4)) > 0.3  # there is correlation to see


def test_full_gaussian_sees_a_broken_correlation(make_features):
    random = np.random.default_rng(0)
    shared = random.normal(size=(500, 1))
    features = make_features(N=500, J=2, values=shared + 0.1 * random.normal(size=(500, 2)))
    others = make_features(N=2, J=2, values=[[1.0, 1.0], [1.0, -1.0]])
    along, across = FullGaussian().fit(features).score(others)
    assert across > along + 25
    along, across = LayerwiseGaussian().fit(features).score(others)
    assert across == pytest.approx(along, abs=0.5)


def test_full_gaussian_overflowing_both_ways_is_infinite(make_features):
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 1)) + 0.3 * random.normal(size=(500, 2))
    density = FullGaussian().fit(make_features(N=500, J=2, values=values))
    other = make_features(N=1, J=2, values=[[1e200, 5e199]])  # the shares are +inf and -inf
    np.testing.assert_array_equal(density.score(other), [np.inf])


def test_full_gaussian_on_two_rows_says_that_they_are_too_few(make_features):
    with pytest.raises(ValueError, match="4 layers over 2 rows is singular"):
        FullGaussian().fit(make_features(N=2, J=4))


def test_chi_square_is_the_change_of_variable(fitting, scored):
    k = fitting.numels
    c = np.exp(fitting.values).mean(0) / k
    f = np.exp(scored.values)
    log_density = stats.chi2.logpdf(f, k, scale=c) + scored.values
    density = ChiSquare().fit(fitting)
    np.testing.assert_allclose(density.explain(scored), -log_density, rtol=1e-10)
    np.testing.assert_allclose(density.score(scored), -log_density.sum(1), rtol=1e-10)


@pytest.mark.parametrize("k", [1, 7, 5000])
def test_chi_square_integrates_to_one(make_features, k):
    random = np.random.default_rng(0)
    y = np.log(3e-4 * random.chisquare(k, size=(200, 1)))
    fitting = make_features(N=200, J=1, values=y, numels=[k], bounds=[0])
    density = ChiSquare().fit(fitting)
    centre, width = np.log(3e-4 * k), np.sqrt(2 / k)

    def p(y):
        return np.exp(-density.score(make_features(N=1, J=1, values=[[y]], numels=[k]))[0])

    # towards -inf the density falls like e^(ky/2), towards +inf like exp(-e^y)
    low, high = centre - 45 * width, centre + min(8 * width, 6)
    total, _ = integrate.quad(p, low, high, points=[centre], limit=200)
    assert total == pytest.approx(1, abs=1e-6)


def test_chi_square_is_precise_for_large_layers(make_features):
    k = 40_000_000  # the naive form sums terms of 3e8 and is left with 8 digits
    values = np.array([[0.0], [1e-4], [-1e-4]])
    density = ChiSquare().fit(make_features(N=3, J=1, values=values, numels=[k]))
    step = np.diff(density.score(make_features(N=2, J=1, values=[[0.0], [3e-4]])))
    mean = np.log(np.exp(values).mean())
    expected = k / 2 * ((3e-4 - mean) ** 2 / 2 + (3e-4 - mean) ** 3 / 6 - mean**2 / 2)
    np.testing.assert_allclose(step, expected, rtol=1e-6)


def test_chi_square_maximises_the_likelihood(make_features):
    features = make_features(N=30, J=1, numels=[6])
    density = ChiSquare().fit(features)
    best = density.score(features).sum()
    for move in (-0.01, 0.01):
        moved = ChiSquare().fit(features)
        moved.log_mean_ = density.log_mean_ + move
        assert moved.score(features).sum() > best


def test_fishers_method(fitting, scored):
    z = (scored.values - fitting.values.mean(0)) / fitting.values.std(0)
    p = 2 * stats.norm.sf(np.abs(z))
    density = FishersMethod().fit(fitting)
    np.testing.assert_allclose(density.score(scored), -2 * np.log(p).sum(1), rtol=1e-10)
    for row, score in zip(p, density.score(scored), strict=True):
        assert score == pytest.approx(stats.combine_pvalues(row, "fisher").statistic)


def test_fishers_method_far_out_where_p_underflows(make_features):
    features = make_features(N=2, J=1, values=[[-1.0], [1.0]])  # mean 0, deviation 1
    score = FishersMethod().fit(features).score(make_features(N=1, J=1, values=[[1000.0]]))
    # log sf(z) = -z^2/2 - log(z sqrt(2 pi)) - 1/z^2
    expected = 1000**2 + 2 * np.log(1000 * np.sqrt(2 * np.pi)) - 2 * np.log(2) + 2e-6
    np.testing.assert_allclose(score, expected, rtol=1e-12)


def test_sum_of_norms(fitting, scored, make_features):
    density = SumOfNorms().fit(fitting)
    np.testing.assert_allclose(density.score(scored), np.log(np.exp(scored.values).sum(1)))
    huge = make_features(N=1, J=4, values=[[2000.0, 1999.0, 0.0, 0.0]])
    np.testing.assert_allclose(density.score(huge), 2000 + np.log1p(np.exp(-1)))


def test_typicality_and_likelihood(fitting, scored):
    losses = scored.losses.reshape(8, -1).mean(1)
    np.testing.assert_allclose(Likelihood().fit(fitting).score(scored), losses, rtol=1e-14)
    expected = np.abs(losses - fitting.losses.mean())
    np.testing.assert_allclose(Typicality().fit(fitting).score(scored), expected, rtol=1e-12)


def test_typicality_is_two_sided_and_likelihood_is_not(make_features):
    features = make_features(N=2, V=1, losses=[[9.0], [11.0]])
    others = make_features(N=3, V=1, losses=[[0.0], [10.0], [20.0]])
    np.testing.assert_array_equal(Typicality().fit(features).score(others), [10, 0, 10])
    np.testing.assert_array_equal(Likelihood().fit(features).score(others), [0, 10, 20])


def test_loss_densities_fit_on_one_row(make_features):
    one = make_features(N=1)
    assert Typicality().fit(one).score(one) == [0]
    assert Likelihood().fit(one).score(one) == one.losses.mean(1)


class Distance(Density):
    """A density of a user's own: fit, score and one setting."""

    name = "distance"

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def fit(self, features):
        self.centre_ = features.values.mean(0)
        return self

    def score(self, features):
        return (np.abs(features.values - self.centre_) ** self.power).sum(1)


def test_a_density_of_ones_own_needs_fit_and_score_only(fitting, scored):
    density = Distance(power=3.0).fit(fitting)
    restored = Distance.from_state(*density.state())
    assert restored.power == 3.0
    np.testing.assert_array_equal(restored.score(scored), density.score(scored))
