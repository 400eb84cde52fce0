"""Fits against closed forms and scipy; p-values by how often they reject what is true."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma

from fimetric.fisher import families
from fimetric.fisher.families import (
    SHAPE_STEP,
    fit_families,
    ks_distances,
)
from fimetric.fisher.laws import FAMILIES, gamma_shape


@pytest.fixture
def of(make_features):
    """Return a maker of tables without rounding bounds from log norms (N, J)."""

    def make(values, numels=None):
        values = np.asarray(values, dtype=np.float64)
        N, J = values.shape
        numels = np.full(J, 10) if numels is None else np.asarray(numels)
        return make_features(N=N, J=J, values=values, bounds=np.zeros(J), numels=numels)

    return make


def chi_square(n, J, freedom, seed=0):
    return np.log(np.random.default_rng(seed).chisquare(freedom, size=(n, J)))


def log_normal(n, J, deviation, seed=0):
    return deviation * np.random.default_rng(seed).normal(size=(n, J))


def test_parameters_are_the_closed_forms(of):
    y, numels = chi_square(80, 4, 3.0), np.array([1, 5, 70, 5000])
    found = fit_families(of(y, numels), repeats=1)
    f = np.exp(y)
    for family in ("chi-square", "gamma", "gamma-likelihood"):
        np.testing.assert_allclose(found.fits[family].location, np.log(f.mean(0)), rtol=1e-12)
    np.testing.assert_array_equal(found.fits["chi-square"].shape, numels)
    np.testing.assert_allclose(found.fits["gamma"].shape, 2 * f.mean(0) ** 2 / f.var(0))
    likelihood = [stats.gamma.fit(column, floc=0)[0] for column in f.T]
    np.testing.assert_allclose(found.fits["gamma-likelihood"].shape / 2, likelihood, rtol=1e-6)
    np.testing.assert_allclose(found.fits["log-normal"].location, y.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.fits["log-normal"].shape, y.std(0), rtol=1e-12)
    np.testing.assert_array_equal(found.numels, numels)
    assert (found.names, found.samples) == (tuple(f"layer{j}.weight" for j in range(4)), 80)


@pytest.mark.parametrize("shift", [-69.0, 0.0, 46.0])  # norms of 1e-30, 1 and 1e+20
def test_distances_are_scipys(of, shift):
    y = chi_square(50, 3, 4.0) + shift
    found = fit_families(of(y, [1, 10, 4]), repeats=1)
    f = np.exp(y)
    for j, k in enumerate((1, 10, 4)):
        gamma = 2 * f[:, j].mean() ** 2 / f[:, j].var()
        laws = {
            "chi-square": stats.chi2(k, scale=f[:, j].mean() / k),
            "gamma": stats.chi2(gamma, scale=f[:, j].mean() / gamma),
            "gamma-likelihood": stats.gamma(*stats.gamma.fit(f[:, j], floc=0)),
            "log-normal": stats.lognorm(y[:, j].std(), scale=np.exp(y[:, j].mean())),
        }
        for family, law in laws.items():
            distance = found.fits[family].distance[j]
            theirs = stats.kstest(f[:, j], law.cdf).statistic  # whose fit has six digits
            digits = 1e-6 if family == "gamma-likelihood" else 1e-12
            assert distance == pytest.approx(theirs, abs=digits)
            assert distance == pytest.approx(
                stats.kstest(y[:, j], found.distribution(family, j).cdf).statistic, abs=1e-9
            )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [0.02, 0.7, 5.0, 3e3, 4e7])
def test_draws_follow_the_distribution_they_are_drawn_from(family, shape):
    law = FAMILIES[family]
    y = law.draw(shape, (4000,), np.random.default_rng(0))
    assert np.isfinite(y).all()
    # the location of draws is any: that of chi-square's is the one with scale 1/2 of chi^2
    location = 0.0 if family == "log-normal" else np.log(shape / 2)
    assert stats.kstest(y, law.distribution(location, shape).cdf).pvalue > 0.01
    u = law.cdf(np.sort(y)[None], np.array([location]), np.array([shape]))
    assert ks_distances(u)[0] == pytest.approx(
        stats.kstest(y, law.distribution(location, shape).cdf).statistic, abs=1e-6
    )


def test_everything_but_the_location_is_free_of_scale(of):
    y = chi_square(60, 5, 3.0)
    plain = fit_families(of(y), repeats=50)
    for shift in (-69.0, 46.0, 1e4):  # f itself would overflow in the last
        moved = fit_families(of(y + shift), repeats=50)
        for family, fit in plain.fits.items():
            other = moved.fits[family]
            np.testing.assert_allclose(other.location - shift, fit.location, atol=1e-9)
            np.testing.assert_allclose(other.shape, fit.shape, rtol=1e-9)
            np.testing.assert_allclose(other.distance, fit.distance, atol=1e-9)
            np.testing.assert_array_equal(other.p_value, fit.p_value)


@pytest.mark.parametrize("a", [1e-3, 0.1, 1.0, 3.0, 100.0, 499.0, 501.0, 2e4])
def test_gamma_shape_solves_its_equation(a):
    s = np.log(a) - digamma(a)
    digits = max(1e-9, 1e-15 * np.log(a) / s)  # s itself is a difference
    found = gamma_shape(np.array([[s, 1.0]]))
    np.testing.assert_allclose(found, [[a, 0.6155567664796348]], rtol=digits)


def test_gamma_shape_takes_what_is_extreme():
    found = gamma_shape(np.array([1e-300, 1e-20, 700.0, 1e5]))
    np.testing.assert_allclose(found, [5e299, 5e19, 0.00141646128, 9.9989066e-6], rtol=1e-7)


TRUTHS = {
    "chi-square": lambda n, J: chi_square(n, J, 10),
    "gamma": lambda n, J: chi_square(n, J, 3.3),
    "gamma-likelihood": lambda n, J: chi_square(n, J, 3.3),
    "log-normal": lambda n, J: log_normal(n, J, 1.5),
}


@pytest.mark.parametrize("family", TRUTHS)
def test_a_true_family_is_rejected_as_often_as_said(of, family):
    """The bootstrap sees the true shape, too, only through the sample: uniform to some percent."""
    found = fit_families(of(TRUTHS[family](100, 400)), repeats=250)
    p = found.fits[family].p_value
    for alpha in (0.05, 0.2, 0.5, 0.8):
        # sampling of 400 layers, and of the 250 distances that they share
        error = np.sqrt(alpha * (1 - alpha) * (1 / 400 + 1 / 250))
        assert (p <= alpha).mean() == pytest.approx(alpha, abs=3 * error)
    assert found.fitting(family).mean() == pytest.approx(0.95, abs=0.03)
    textbook = stats.kstwo.sf(found.fits[family].distance, 100)
    if family != "chi-square":  # tables that know nothing of the fit hardly ever reject
        assert (textbook <= 0.05).mean() < 0.01


@pytest.mark.parametrize(
    ("truth", "others"),
    [
        ("chi-square", ("log-normal",)),  # the gamma holds it
        ("gamma", ("chi-square", "log-normal")),
        ("gamma-likelihood", ("chi-square", "log-normal")),
        ("log-normal", ("chi-square", "gamma", "gamma-likelihood")),
    ],
)
def test_other_families_are_rejected_where_samples_are_many(of, truth, others):
    found = fit_families(of(TRUTHS[truth](2000, 20)), repeats=50)
    for family in others:
        assert found.fitting(family).mean() <= 0.1
        assert (found.fits[family].p_value[~found.fitting(family)] >= 1 / 51).all()
    assert found.fitting(truth).mean() >= 0.7
    assert sum(found.closest().values()) == 20
    closest = found.closest()
    gammas = closest["gamma"] + closest["gamma-likelihood"]
    assert {"log-normal": closest[truth], "chi-square": closest[truth] + gammas}.get(
        truth, gammas
    ) >= 18


def test_p_values_are_the_share_of_distances_as_large(of):
    y = log_normal(40, 3, 1.0)
    found = fit_families(of(y, [7, 7, 3]), repeats=39, seed=5)
    for name, family in FAMILIES.items():
        fit = found.fits[name]
        for j in range(3):
            random = np.random.default_rng(5)
            step = np.round(np.log(fit.shape[j]) / np.log(SHAPE_STEP))
            shape = 1.0 if name == "log-normal" else SHAPE_STEP**step
            draws = family.draw(shape, (39, 40), random)
            distances = []
            for row in np.sort(draws, axis=-1):
                location, again = family.fit(row, np.array(shape))
                law = family.distribution(location, again)
                distances.append(stats.kstest(row, law.cdf).statistic)
            expected = (1 + np.sum(np.array(distances) >= fit.distance[j])) / 40
            assert fit.p_value[j] == pytest.approx(expected)


def test_a_layers_p_value_does_not_depend_on_the_other_layers(of):
    y = chi_square(40, 6, 3.0)
    every, some = fit_families(of(y), repeats=30), fit_families(of(y[:, 2:3]), repeats=30)
    for family in FAMILIES:
        assert some.fits[family].p_value[0] == every.fits[family].p_value[2]


@pytest.mark.parametrize("family", ["chi-square", "gamma", "gamma-likelihood"])
@pytest.mark.parametrize("shape", [0.3, 1.0, 4.0, 200.0])
def test_neighbouring_shapes_may_share_a_null_distribution(family, shape):
    law, found = FAMILIES[family], []
    u = np.sort(np.random.default_rng(0).random((300, 200)), axis=-1)  # the same for both
    for s in (shape, shape * SHAPE_STEP**0.5):  # half a step is the farthest
        y = law.distribution(0.0, s).ppf(u)
        distances = ks_distances(law.cdf(y, *law.fit(y, np.full(300, s))))
        found.append(np.quantile(distances, [0.5, 0.95]))
    np.testing.assert_allclose(found[1], found[0], rtol=0.01)
    assert (found[1] != found[0]).all()


@pytest.mark.parametrize("spectrum", [[1.0] * 12, [4.0, 1.0, 1.0, 0.5, 0.1], [1.0, 0, 0]])
def test_norms_of_gaussian_gradients_have_the_freedom_of_their_spectrum(of, spectrum):
    """G ~ N(0, F): |g|^2 has mean tr F and variance 2 tr F^2."""
    spectrum = np.array(spectrum)
    g = np.random.default_rng(0).normal(size=(4000, 1, len(spectrum))) * np.sqrt(spectrum)
    y = np.log((g**2).sum(-1))
    found = fit_families(of(y, [len(spectrum)]), repeats=50)
    freedom = spectrum.sum() ** 2 / (spectrum**2).sum()
    assert found.fits["gamma"].shape[0] == pytest.approx(freedom, rel=0.07)
    flat = (spectrum == spectrum[0]).all()
    assert found.fitting("chi-square")[0] == flat


def test_layers_that_are_not_informative_are_left_out(of):
    y = chi_square(30, 5, 3.0)
    y[3, 0] = -np.inf  # an exact zero
    y[:, 2] = 1.0  # constant
    found = fit_families(of(y, [1, 2, 3, 4, 5]), repeats=9)
    assert found.names == ("layer1.weight", "layer3.weight", "layer4.weight")
    np.testing.assert_array_equal(found.numels, [2, 4, 5])
    alone = fit_families(of(y[:, [1, 3, 4]], [2, 4, 5]), repeats=9)
    for family, fit in found.fits.items():
        np.testing.assert_array_equal(fit.distance, alone.fits[family].distance)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named(of, value):
    y = chi_square(30, 2, 3.0)
    y[3, 1] = value
    with pytest.raises(ValueError, match=r"sample 'image3', layer 'layer1\.weight'"):
        fit_families(of(y))


def test_two_rows_ties_and_outliers_are_taken(of):
    for y in (
        [[0.0, 1.0], [1.0, 1.5]],
        [[0.0, 1.0]] * 10 + [[1.0, 2.0]],  # ties
        [[0.0, -1.0]] * 5 + [[1.0, 0.0], [700.0, -700.0]],  # e^700 is all of the mean
    ):
        found = fit_families(of(y), repeats=20)
        for fit in found.fits.values():
            for values in (fit.location, fit.shape, fit.distance, fit.p_value):
                assert np.isfinite(values).all()
            assert ((fit.distance > 0) & (fit.distance <= 1)).all()


@pytest.mark.parametrize("spread", [2e-4, 1e-10])
def test_hardly_any_spread_keeps_its_digits(of, spread):
    y = log_normal(200, 2, spread)
    found = fit_families(of(y, [round(2 / spread**2)] * 2 if spread > 1e-9 else None), repeats=50)
    np.testing.assert_allclose(found.fits["gamma"].shape, 2 / y.var(0), rtol=10 * spread)
    assert found.fitting("gamma").all()
    assert found.fitting("chi-square").all() == (spread > 1e-9)


def test_distances_of_the_bootstrap_that_are_equal_count(of, monkeypatch):
    features = of(log_normal(10, 1, 1.0))
    D = fit_families(features, repeats=1).fits["log-normal"].distance[0]
    null = np.array([D - 0.01, D, D, D + 0.01])
    monkeypatch.setattr(families, "null_distances", lambda *_: null)
    assert fit_families(features, repeats=4).fits["log-normal"].p_value[0] == 4 / 5


def test_no_repeats_are_refused(of):
    with pytest.raises(ValueError, match="repeats is 0"):
        fit_families(of(chi_square(10, 2, 3)), repeats=0)
