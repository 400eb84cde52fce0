"""The candidates that stand in docs/results/selection alone, against scipy or a loop."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import ledoit_wolf

from fimetric.detectors import FullGaussian, NearestNeighbours

PLACE = Path(__file__).parents[1] / "docs" / "results" / "selection"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"selection_{name}", PLACE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


columns, densities = loaded("columns"), loaded("densities")


MIX = [[1.0, 0.8, 0.0, 0.3], [0.0, 1.0, 0.5, 0.0], [0.0, 0.0, 2.0, 0.1], [0.0, 0.0, 0.0, 0.05]]


@pytest.fixture
def fitting(make_features):
    values = np.random.default_rng(3).standard_normal((60, 4)) @ MIX
    return make_features(N=60, J=4, values=values)


@pytest.fixture
def scored(make_features):
    values = np.random.default_rng(4).standard_normal((7, 4)) @ MIX
    return make_features(N=7, J=4, values=values, seed=1)


def standardised(table, fitting):
    return (table.values - fitting.values.mean(0)) / fitting.values.std(0)


def test_student_t_is_the_product_of_its_columns_laws(fitting, scored):
    expected = 0.0
    for column, y in zip(fitting.values.T, scored.values.T, strict=True):
        expected -= stats.t.logpdf(y, *stats.t.fit(column))
    found = densities.StudentT().fit(fitting).score(scored)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_principal_components_have_the_covariance_of_their_model(fitting, scored):
    density = densities.PrincipalGaussian().fit(fitting)
    assert 1 <= density.components_.n_components_ < 4
    law = stats.multivariate_normal(np.zeros(4), density.components_.get_covariance())
    expected = np.log(fitting.values.std(0)).sum() - law.logpdf(standardised(scored, fitting))
    np.testing.assert_allclose(density.score(scored), expected, rtol=1e-9)


def test_a_copula_is_margins_times_the_density_of_normal_scores(fitting, scored):
    density = densities.GaussianCopula().fit(fitting)

    def normal(table):
        found = np.empty_like(table.values)
        for j, rows in enumerate(fitting.values.T):
            width = len(rows) ** -0.2 * rows.std(ddof=1)
            for i, y in enumerate(table.values[:, j]):
                found[i, j] = stats.norm.ppf(stats.norm.cdf((y - rows) / width).mean())
        return found

    correlation = ledoit_wolf(normal(fitting), assume_centered=True)[0]
    z = normal(scored)
    joint = stats.multivariate_normal(np.zeros(4), correlation).logpdf(z)
    margins = sum(
        stats.gaussian_kde(rows).logpdf(y)
        for rows, y in zip(fitting.values.T, scored.values.T, strict=True)
    )
    expected = -(margins + joint - stats.norm.logpdf(z).sum(1))
    np.testing.assert_allclose(density.score(scored), expected, rtol=1e-6)


def test_balanced_neighbours_weigh_norms_and_losses_alike(fitting, scored):
    def blocks(table):
        losses = (table.losses - fitting.losses.mean(0)) / fitting.losses.std(0)
        return standardised(table, fitting), losses

    expected = []
    for norms, losses in zip(*blocks(scored), strict=True):
        own_norms, own_losses = blocks(fitting)
        near = np.square(norms - own_norms).mean(1) + np.square(losses - own_losses).mean(1)
        expected.append(np.sort(near)[:5].mean())
    np.testing.assert_allclose(densities.Balanced().fit(fitting).score(scored), expected)


def test_whitened_neighbours_are_near_in_mahalanobis_distance(fitting, scored):
    def beside(table):
        y = np.concatenate([table.values, table.losses], axis=1)
        own = np.concatenate([fitting.values, fitting.losses], axis=1)
        return (y - own.mean(0)) / own.std(0)

    inverse = np.linalg.inv(ledoit_wolf(beside(fitting), assume_centered=True)[0])
    # neighbours standardise once more what is whitened already
    root = np.linalg.cholesky(np.linalg.inv(inverse))
    spread = np.linalg.solve(root, beside(fitting).T).std(1)
    metric = np.linalg.inv(root).T @ np.diag(spread**-2) @ np.linalg.inv(root)
    expected = []
    for z in beside(scored):
        away = z - beside(fitting)
        expected.append(np.sort(np.einsum("ni,ij,nj->n", away, metric, away))[:5].mean())
    np.testing.assert_allclose(densities.Whitened().fit(fitting).score(scored), expected)


def test_combined_p_values_are_fishers_statistic_of_a_half_not_fitted_on(fitting, scored):
    expected = np.zeros(len(scored))
    for density in (NearestNeighbours(), FullGaussian()):
        density.fit(fitting.select(range(0, 60, 2)))
        held_out = density.score(fitting.select(range(1, 60, 2)))
        for i, score in enumerate(density.score(scored)):
            expected[i] -= 2 * np.log((1 + (held_out >= score).sum()) / 31)
    found = densities.CombinedPValues(NearestNeighbours, FullGaussian).fit(fitting).score(scored)
    np.testing.assert_allclose(found, expected)


def test_modules_add_up_squared_norms(make_features):
    table = make_features(N=5, J=3)
    named = type(table)(**{**vars(table), "names": ("a.weight", "b.weight", "a.bias")})
    found = columns.modules(named)
    squares = np.exp(named.values)
    assert found.names == ("a", "b")
    np.testing.assert_allclose(
        np.exp(found.values), np.stack([squares[:, 0] + squares[:, 2], squares[:, 1]], 1)
    )
    np.testing.assert_allclose(found.bounds, [named.bounds[[0, 2]].sum(), named.bounds[1]])
    assert found.numels.tolist() == [named.numels[[0, 2]].sum(), named.numels[1]]


def test_some_timesteps_are_kept_with_their_losses(make_features):
    table = make_features(N=3, J=4, V=2)
    names, views = ("t=0/a", "t=0/b", "t=50/a", "t=50/b"), ("t=0/draw=0", "t=50/draw=0")
    table = type(table)(**{**vars(table), "names": names, "views": views})
    found = columns.at(table, (50,))
    assert found.names == names[2:] and found.views == views[1:]
    np.testing.assert_array_equal(found.values, table.values[:, 2:])
    np.testing.assert_array_equal(found.losses, table.losses[:, 1:])
    other = type(table)(**{**vars(table), "views": ("loss", "other")})
    assert columns.at(other, (50,)) is other  # a flow's or a variational autoencoder's
