"""The densities of other methods, each against its formula by scipy, scikit-learn or a loop."""

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import IsolationForest as Forest
from sklearn.svm import OneClassSVM as Machine

from fimetric.detectors import (
    KDE,
    WAIC,
    CombinedTests,
    GaussianMixture,
    InputComplexity,
    IsolationForest,
    OneClassSVM,
    SmallestPValue,
)
from fimetric.detectors.isolation_forest import expected_depth


@pytest.fixture
def fitting(make_features):
    return make_features(N=50, J=4, group_size=2)


@pytest.fixture
def scored(make_features):
    return make_features(N=8, J=4, group_size=2, seed=1)


def standardised(features, fitting):
    return (features.values - fitting.values.mean(0)) / fitting.values.std(0)


def test_kde(fitting, scored):
    log_density = np.stack(
        [
            stats.gaussian_kde(rows).logpdf(y)
            for rows, y in zip(fitting.values.T, scored.values.T, strict=True)
        ],
        axis=1,
    )
    density = KDE().fit(fitting)
    np.testing.assert_allclose(density.explain(scored), -log_density, rtol=1e-10)
    np.testing.assert_allclose(density.score(scored), -log_density.sum(1), rtol=1e-10)


def test_kde_far_out_where_the_density_underflows(make_features):
    density = KDE().fit(make_features(N=2, J=1, values=[[-1.0], [1.0]]))
    h = 2**-0.2 * 2**0.5
    z = (1e4 - 1) / h
    expected = z**2 / 2 + np.log(2 * h * np.sqrt(2 * np.pi))  # the nearer row alone
    far = make_features(N=1, J=1, values=[[1e4]])
    np.testing.assert_allclose(density.score(far), expected, rtol=1e-12)


def test_kde_sees_the_hole_between_two_clusters(make_features):
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(m, 0.1, size=(100, 1)) for m in (-5, 5)])
    middle, cluster = (
        KDE()
        .fit(make_features(N=200, J=1, values=values))
        .score(make_features(N=2, J=1, values=[[0.0], [5.0]]))
    )
    assert middle > cluster + 0.5


def test_kde_by_the_largest_column_alone(fitting, scored):
    density = KDE(largest=True).fit(fitting)
    columns = [KDE().fit(fitting.columns([n])).score(scored.columns([n])) for n in fitting.names]
    np.testing.assert_allclose(density.score(scored), np.max(columns, axis=0), rtol=1e-12)
    shares = density.explain(scored)
    assert ((shares != 0).sum(1) == 1).all()
    assert (shares.argmax(1) == np.argmax(columns, axis=0))[shares.max(1) > 0].all()


def test_gaussian_mixture_is_the_log_density_of_its_components(fitting, scored):
    density = GaussianMixture().fit(fitting)
    y, mean, deviation = scored.values, fitting.values.mean(0), fitting.values.std(0)
    order = np.argsort(fitting.names)
    z = ((y - mean) / deviation)[:, order]
    expected = sum(
        weight * stats.multivariate_normal(centre, np.linalg.inv(root @ root.T)).pdf(z)
        for weight, centre, root in zip(
            density.weights_, density.centres_, density.roots_, strict=True
        )
    )
    np.testing.assert_allclose(
        density.score(scored), np.log(deviation).sum() - np.log(expected), rtol=1e-9
    )


def test_gaussian_mixture_finds_how_many_clusters_there_are(make_features):
    random = np.random.default_rng(0)
    one = random.standard_normal((300, 2))
    three = one + 20 * random.integers(3, size=(300, 1)) * [[1.0, -0.5]]
    for values, components in ((one, 1), (three, 3)):
        density = GaussianMixture().fit(make_features(N=300, J=2, values=values))
        assert len(density.weights_) == components
    between = make_features(N=2, J=2, values=[[10.0, -5.0], [20.0, -10.0]])
    hole, centre = density.score(between)
    assert hole > centre + 20


def test_gaussian_mixture_of_fewer_rows_than_columns_is_finite(make_features):
    density = GaussianMixture().fit(make_features(N=3, J=40))
    assert np.isfinite(density.score(make_features(N=5, J=40, seed=1))).all()


def test_kde_in_chunks_is_the_same(fitting, scored, monkeypatch):
    whole = KDE().fit(fitting).score(scored)
    monkeypatch.setattr("fimetric.detectors.kde.CHUNK", 60)
    np.testing.assert_allclose(KDE().fit(fitting).score(scored), whole, rtol=1e-12)


@pytest.mark.parametrize("nu", [0.1, 0.5])
def test_one_class_svm(fitting, scored, nu, monkeypatch):
    machine = Machine(kernel="rbf", gamma="scale", nu=nu, tol=1e-12)
    machine.fit(standardised(fitting, fitting))
    expected = -machine.decision_function(standardised(scored, fitting))
    monkeypatch.setattr("fimetric.detectors.one_class_svm.CHUNK", 100)
    density = OneClassSVM(nu).fit(fitting)
    np.testing.assert_allclose(density.score(scored), expected, atol=1e-6)  # the solver's own
    # the solver keeps the kernel in float32: support vectors on the edge are off it by as much
    outside = (density.score(fitting) > 1e-6).mean()
    assert outside <= nu <= len(density.vectors_) / 50


def test_one_class_svm_far_out_has_its_limit(fitting, make_features):
    density = OneClassSVM().fit(fitting)
    far = make_features(N=1, J=4, values=[[1e9, 0, 0, 0]])
    np.testing.assert_array_equal(density.score(far), [density.offset_])
    assert density.offset_ > density.score(fitting).max()


@pytest.mark.parametrize("N", [2, 3, 50, 400])
def test_isolation_forest(make_features, scored, N):
    fitting = make_features(N=N, J=4, group_size=2)
    z = standardised(fitting, fitting)
    rows = z[np.lexsort(fitting.values.T[::-1])]
    forest = Forest(n_estimators=30, random_state=5).fit(rows)
    density = IsolationForest(trees=30, seed=5).fit(fitting)
    np.testing.assert_allclose(density.score(fitting), -forest.score_samples(z), rtol=1e-12)
    others = -forest.score_samples(standardised(scored, fitting))
    np.testing.assert_allclose(density.score(scored), others, rtol=1e-12)


def test_the_seed_and_the_number_of_trees_matter(fitting, scored):
    one, other = (IsolationForest(seed=s).fit(fitting).score(scored) for s in (0, 1))
    assert not np.array_equal(one, other)
    assert IsolationForest(trees=3).fit(fitting).feature_.shape[0] == 3


def test_trees_of_some_of_the_rows_depend_on_no_order(make_features, scored):
    fitting = make_features(N=400, J=4, group_size=2)  # a tree takes 256
    again = fitting.select(np.random.default_rng(2).permutation(400))
    one, other = (IsolationForest().fit(table).score(scored) for table in (fitting, again))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_the_expected_depth_is_that_of_random_cuts():
    found = expected_depth(np.array([1, 2, 3, 256]))
    harmonic = [sum(1 / k for k in range(1, m)) for m in (1, 2, 3, 256)]
    exact = [2 * h - 2 * (m - 1) / m for h, m in zip(harmonic, (1, 2, 3, 256), strict=True)]
    np.testing.assert_array_equal(found[:2], exact[:2])
    # H_m by its logarithm, off by 1 / 2m: the paper's own approximation
    np.testing.assert_allclose(found[2:], exact[2:], atol=0.5)
    assert found[3] == pytest.approx(exact[3], abs=0.005)


def test_input_complexity(make_features):
    table = make_features(N=3, J=3, names=["png", "zlib", "jpeg2000"], group_size=2)
    loss = table.losses.reshape(3, -1).mean(1)
    for j, column in enumerate(table.names):
        scores = InputComplexity(column).fit(table).score(table)
        np.testing.assert_allclose(scores, loss - table.values[:, j], rtol=1e-12)
    np.testing.assert_array_equal(
        InputComplexity().fit(table).score(table), InputComplexity("png").fit(table).score(table)
    )
    shortest = np.array([min(row) for row in table.values])
    scores = InputComplexity("min").fit(table).score(table)
    np.testing.assert_allclose(scores, loss - shortest, rtol=1e-12)


def test_input_complexity_needs_code_lengths(make_features):
    with pytest.raises(ValueError, match=r"no column 'png' in .* table of .*CodeLengths"):
        InputComplexity().fit(make_features())
    density = InputComplexity("layer0.weight").fit(make_features(N=1))
    with pytest.raises(ValueError, match=r"no column 'layer0.weight'"):
        density.score(make_features(J=2).columns(["layer1.weight"]))


def test_waic(fitting, scored):
    expected = [np.mean(row) + np.mean((row - np.mean(row)) ** 2) for row in scored.values]
    density = WAIC().fit(fitting)
    np.testing.assert_allclose(density.score(scored), expected, rtol=1e-12)


def test_waic_finds_disagreement_anomalous_and_one_member_is_its_loss(make_features):
    table = make_features(N=3, J=2, values=[[5.0, 5.0], [4.0, 6.0], [1.0, 2.0]])
    np.testing.assert_allclose(WAIC().fit(table).score(table), [5, 6, 1.75])
    one = table.columns(table.names[:1])
    np.testing.assert_array_equal(WAIC().fit(one).score(one), one.values[:, 0])


def p_of(rows, t, two_sided):
    n = len(rows)
    above = (1 + sum(row >= t for row in rows)) / (n + 1)
    below = (1 + sum(row <= t for row in rows)) / (n + 1)
    return min(1, 2 * min(above, below)) if two_sided else above


def p_values(fitting, scored, two_sided, typicality):
    """Return the p-values of all tests of each row, by counting."""
    loss, mine = (table.losses.reshape(len(table), -1).mean(1) for table in (fitting, scored))
    distance, far = np.abs(loss - loss.mean()), np.abs(mine - loss.mean())
    columns = list(fitting.values.T)
    return [
        [p_of(c, y, two_sided) for c, y in zip(columns, row, strict=True)]
        + ([p_of(distance, d, False)] if typicality else [])
        for row, d in zip(scored.values, far, strict=True)
    ]


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("typicality", [False, True])
def test_combined_tests(fitting, scored, two_sided, typicality):
    settings = {"two_sided": two_sided, "typicality": typicality}
    p = p_values(fitting, scored, two_sided, typicality)
    expected = [stats.combine_pvalues(row, "fisher").statistic for row in p]
    scores = CombinedTests(**settings).fit(fitting).score(scored)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    smallest = SmallestPValue(**settings).fit(fitting).score(scored)
    np.testing.assert_allclose(smallest, [-np.log(min(row)) for row in p], rtol=1e-12)


def test_ties_count_and_the_smallest_p_is_one_in_n_plus_one(make_features):
    table = make_features(N=3, J=1, values=[[1.0], [2.0], [2.0]])
    others = make_features(N=4, J=1, values=[[0.0], [2.0], [2.5], [1e9]])
    score = CombinedTests(typicality=False).fit(table).score(others)
    np.testing.assert_allclose(np.exp(-score / 2), [1, 3 / 4, 1 / 4, 1 / 4])
    score = CombinedTests(two_sided=True, typicality=False).fit(table).score(others)
    np.testing.assert_allclose(np.exp(-score / 2), [1 / 2, 1, 1 / 2, 1 / 2])


def test_typicality_alone_tells_where_columns_say_nothing(make_features):
    table = make_features(N=20, J=1, V=1)
    same = make_features(N=2, J=1, V=1, values=table.values[:1].repeat(2, 0), losses=[[100.0], [0]])
    typical, strange = CombinedTests().fit(table).score(same)
    assert strange > typical
    assert strange - typical <= 2 * np.log(21)
    without = CombinedTests(typicality=False).fit(table)
    assert len(set(without.score(same))) == 1


def test_some_columns_are_chosen_and_kept_with_the_state(fitting, scored):
    chosen = fitting.names[1:3]
    density = CombinedTests(columns=chosen).fit(fitting)
    expected = CombinedTests().fit(fitting.columns(chosen)).score(scored)
    np.testing.assert_array_equal(density.score(scored), expected)
    again = CombinedTests.from_state(*density.state())
    assert again.columns == list(chosen)
    np.testing.assert_array_equal(again.score(scored), expected)
    with pytest.raises(ValueError, match="no column 'mmd'"):
        CombinedTests(columns=["mmd"]).fit(fitting)
