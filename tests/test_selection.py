import numpy as np
import pytest

from fimetric.detectors import FullGaussian, LayerwiseGaussian, Typicality
from fimetric.selection import held_out_log_density


def table(make_features, correlation, N=400, J=6):
    random = np.random.default_rng(1)
    shared, own = random.normal(size=(N, 1)), random.normal(size=(N, J))
    values = correlation**0.5 * shared + (1 - correlation) ** 0.5 * own
    return make_features(N=N, J=J, values=values)


def test_prefers_the_full_covariance_where_layers_are_correlated(make_features):
    features = table(make_features, correlation=0.8)
    gain = held_out_log_density(FullGaussian(), features) - held_out_log_density(
        LayerwiseGaussian(), features
    )
    R = 0.2 * np.eye(6) + 0.8
    # the gain of a row has variance (tr R^2 + J - 2 tr R) / 2 = 9.6: standard error .155, 4 of them
    assert gain == pytest.approx(-0.5 * np.linalg.slogdet(R)[1], abs=0.62)


def test_matches_the_entropy_of_independent_gaussians(make_features):
    features = table(make_features, correlation=0)
    entropy = 6 * 0.5 * np.log(2 * np.pi * np.e)
    # 2400 terms of variance 1/2: standard error of the mean row .09; 3.5 of them
    assert held_out_log_density(LayerwiseGaussian(), features) == pytest.approx(-entropy, abs=0.3)


def test_leaves_the_density_unfitted_and_depends_on_the_seed_only(make_features):
    density, features = LayerwiseGaussian(), make_features()
    first = held_out_log_density(density, features, seed=3)
    assert not vars(density)
    assert held_out_log_density(density, features, seed=3) == first
    assert held_out_log_density(density, features, seed=4) != first


def test_refuses_what_is_no_density_and_bad_folds(make_features):
    with pytest.raises(ValueError, match="'typicality' is not minus a log density"):
        held_out_log_density(Typicality(), make_features())
    with pytest.raises(ValueError, match="21 folds of 40 rows"):
        held_out_log_density(LayerwiseGaussian(), make_features(), folds=21)
    with pytest.raises(ValueError, match="1 folds"):
        held_out_log_density(LayerwiseGaussian(), make_features(), folds=1)
