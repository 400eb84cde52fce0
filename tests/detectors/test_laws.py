"""The laws that every density in the registry keeps."""

import inspect
import json
import logging

import numpy as np
import pytest
import safetensors.numpy

from fimetric import detectors
from fimetric.detectors import DENSITIES, NotExplainableError, from_state

ALL = sorted(DENSITIES)
# They compare the loss, with nothing or with one column, or one column with nothing.
OF_LOSS = {"likelihood", "typicality", "input-complexity", "column", "e-values"}
OF_LAYERS = sorted(set(ALL) - OF_LOSS)
# Ranks among the fitting rows, and counts of cuts, come in steps: different rows may tie.
IN_STEPS = {"combined-tests", "smallest-p-value", "isolation-forest"}
EXPLAINED = sorted(
    # no sums over layers
    set(OF_LAYERS)
    - IN_STEPS
    - {"sum-of-norms", "one-class-svm", "gaussian-mixture", "relative-mahalanobis"}
)
# The column has a unit, nats, and is set against the loss or against the other columns.
IN_UNITS = {"sum-of-norms", "input-complexity", "waic", "column", "relative-mahalanobis"}
# Where the defaults name a column that the tables here lack.
SETTINGS = {
    "input-complexity": {"column": "layer0.weight"},
    "column": {"column": "layer0.weight"},
    "relative-mahalanobis": {"background": "layer0.weight"},
}
# They never look at a norm, strange or not.
BLIND = {"e-values"}
# One column is set against the others.
OF_SEVERAL = {"relative-mahalanobis"}
SHAPES = {"N>J": (60, 5), "J>N": (12, 80), "one column": (30, 1), "two rows of one": (2, 1)}

# float64 sums of up to 80 terms, in another order or by another BLAS kernel
ROUNDING = {"rtol": 1e-11, "atol": 1e-9}


def create(name):
    """A new density, as the registry makes it but for ``SETTINGS``."""
    return DENSITIES[name](**SETTINGS[name]) if name in SETTINGS else detectors.create(name)


@pytest.fixture(params=ALL)
def name(request):
    return request.param


@pytest.fixture(params=SHAPES)
def shape(request, name):
    if name in OF_SEVERAL and SHAPES[request.param][1] == 1:
        pytest.skip("it needs two columns")
    return dict(zip("NJ", SHAPES[request.param], strict=True))


def shifted(features, constants):
    return type(features)(**{**vars(features), "values": features.values + constants})


def with_value(features, row, column, value):
    values = features.values.copy()
    values[row, column] = value
    return type(features)(**{**vars(features), "values": values})


def test_scores_are_finite_and_one_per_row(name, shape, make_features):
    features, others = make_features(**shape), make_features(N=7, J=shape["J"], seed=1)
    scores = create(name).fit(features).score(others)
    assert scores.shape == (7,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 7 or name in IN_STEPS


def test_fit_returns_self_and_learns_only_attributes_with_an_underscore(name, make_features):
    density = create(name)
    settings = set(vars(density))
    assert settings == set(inspect.signature(type(density)).parameters)
    assert density.fit(make_features()) is density
    assert all(key.endswith("_") for key in set(vars(density)) - settings)


def test_permuting_rows_permutes_scores(name, shape, make_features):
    features, others = make_features(**shape), make_features(N=9, J=shape["J"], seed=1)
    density, order = create(name).fit(features), np.random.default_rng(2).permutation(9)
    np.testing.assert_allclose(
        density.score(others.select(order)), density.score(others)[order], **ROUNDING
    )


def test_the_order_of_the_fitting_rows_does_not_matter(name, shape, make_features):
    features, others = make_features(**shape), make_features(N=9, J=shape["J"], seed=1)
    again = features.select(np.random.default_rng(2).permutation(len(features)))
    np.testing.assert_allclose(
        create(name).fit(again).score(others), create(name).fit(features).score(others), **ROUNDING
    )


def test_a_row_does_not_depend_on_the_others(name, shape, make_features):
    density, others = create(name).fit(make_features(**shape)), make_features(J=shape["J"], seed=1)
    alone = [density.score(others.select([row]))[0] for row in range(len(others))]
    np.testing.assert_allclose(alone, density.score(others), **ROUNDING)


def test_permuting_columns_changes_nothing(name, shape, make_features):
    features, others = make_features(**shape), make_features(N=9, J=shape["J"], seed=1)
    order = np.random.default_rng(2).permutation(shape["J"])
    names = [features.names[j] for j in order]
    scores = create(name).fit(features).score(others)
    refitted = create(name).fit(features.columns(names))
    np.testing.assert_allclose(refitted.score(others.columns(names)), scores, **ROUNDING)
    np.testing.assert_allclose(refitted.score(others), scores, **ROUNDING)


@pytest.mark.parametrize("name", sorted(set(ALL) - IN_UNITS))
def test_rescaling_a_parameter_or_the_loss_changes_nothing(name, shape, make_features):
    features, others = make_features(**shape), make_features(N=9, J=shape["J"], seed=1)
    constants = np.random.default_rng(2).uniform(-5, 5, size=shape["J"])
    np.testing.assert_allclose(
        create(name).fit(shifted(features, constants)).score(shifted(others, constants)),
        create(name).fit(features).score(others),
        **ROUNDING,
    )


def test_state_round_trip_is_exact(name, shape, make_features):
    density, others = create(name).fit(make_features(**shape)), make_features(J=shape["J"], seed=1)
    arrays, description = density.state()
    arrays = safetensors.numpy.load(safetensors.numpy.save(arrays))
    restored = from_state(arrays, json.loads(json.dumps(description)))
    assert type(restored) is type(density)
    np.testing.assert_array_equal(restored.score(others), density.score(others))
    for key, value in vars(density).items():
        assert type(getattr(restored, key)) is type(value)
        assert np.array_equal(getattr(restored, key), value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_strange_value_scores_infinity_and_is_named(name, make_features, caplog, value):
    if name in BLIND:
        pytest.skip("it reads no norms")
    others = with_value(make_features(N=4, seed=1), 2, 3, value)
    density = create(name).fit(make_features())
    with caplog.at_level(logging.WARNING):
        scores = density.score(others)
    np.testing.assert_array_equal(np.isposinf(scores), [False, False, True, False])
    assert "sample 'image2', layer 'layer3.weight'" in caplog.text
    kept = np.array([0, 1, 3])
    np.testing.assert_allclose(scores[kept], density.score(others.select(kept)), **ROUNDING)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_strange_loss_scores_infinity_and_is_named(name, make_features, caplog, value):
    losses = np.zeros((8, 2))
    losses[5, 1] = value
    with caplog.at_level(logging.WARNING):
        scores = (
            create(name).fit(make_features()).score(make_features(N=4, group_size=2, losses=losses))
        )
    np.testing.assert_array_equal(np.isposinf(scores), [False, False, True, False])
    assert "sample 'image5', view 't=1'" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_strange_value_is_refused_in_fit(name, make_features, value):
    if name in BLIND:
        pytest.skip("it reads no norms")
    with pytest.raises(ValueError, match=r"sample 'image2', layer 'layer3.weight'"):
        create(name).fit(with_value(make_features(), 2, 3, value))


def test_a_strange_loss_is_refused_in_fit(name, make_features):
    with pytest.raises(ValueError, match="sample 'image0', view 't=0'"):
        create(name).fit(make_features(losses=np.full((40, 2), np.nan)))


@pytest.mark.parametrize("value", [1e3, 1e6, 1e200, -1e200])
def test_an_enormous_value_neither_crashes_nor_gives_nan(name, make_features, value):
    features = make_features(bounds=np.zeros(5))
    scores = create(name).fit(features).score(with_value(make_features(N=3, seed=1), 1, 2, value))
    assert not np.isnan(scores).any()
    assert np.isfinite(scores[[0, 2]]).all()


def test_no_rows_give_no_scores(name, make_features):
    assert create(name).fit(make_features()).score(make_features(N=0)).shape == (0,)


def test_fitting_on_nothing(name, make_features):
    with pytest.raises(ValueError, match="0 rows"):
        create(name).fit(make_features(N=0))


@pytest.mark.parametrize("name", OF_LAYERS)
def test_fitting_layers_on_one_row(name, make_features):
    with pytest.raises(ValueError, match="1 rows; pass at least two"):
        create(name).fit(make_features(N=1))


@pytest.mark.parametrize("name", OF_LAYERS)
def test_zero_layers_are_left_out_and_named(name, make_features, caplog):
    features, others = make_features(), make_features(N=9, seed=1)
    noisy = with_value(features, 5, 1, -np.inf)
    with caplog.at_level(logging.INFO):
        density = create(name).fit(noisy)
    assert f"left out 1 of {5 - (name in OF_SEVERAL)} layers" in caplog.text
    assert "layer1.weight" in caplog.text
    rest = [column for column in features.names if column != "layer1.weight"]
    expected = create(name).fit(features.columns(rest)).score(others.columns(rest))
    np.testing.assert_array_equal(density.score(others), expected)
    elsewhere = with_value(others, 0, 1, -np.inf)
    np.testing.assert_array_equal(density.score(elsewhere), expected)


@pytest.mark.parametrize("name", OF_LAYERS)
def test_a_later_zero_counts_as_the_bound(name, make_features):
    density, others = create(name).fit(make_features()), make_features(N=3, seed=1)
    zero, bound = with_value(others, 1, 2, -np.inf), with_value(others, 1, 2, np.log(1e-12))
    np.testing.assert_array_equal(density.score(zero), density.score(bound))
    assert np.isfinite(density.score(zero)).all()


@pytest.mark.parametrize("name", OF_LAYERS)
def test_a_missing_column_is_named_and_others_are_ignored(name, make_features):
    density, wide = create(name).fit(make_features(J=5)), make_features(J=7, seed=1)
    np.testing.assert_array_equal(
        density.score(wide), density.score(wide.columns(make_features().names))
    )
    with pytest.raises(ValueError, match=r"no column 'layer3.weight', 'layer4.weight'"):
        density.score(make_features(J=3))


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanations_sum_to_the_score(name, shape, make_features):
    density, others = create(name).fit(make_features(**shape)), make_features(J=shape["J"], seed=1)
    shares = density.explain(others)
    assert shares.shape == others.values.shape
    np.testing.assert_allclose(shares.sum(1), density.score(others), **ROUNDING)


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanations_lie_under_the_columns_of_the_table_passed(name, make_features):
    features = with_value(make_features(), 0, 1, -np.inf)
    density, wide = create(name).fit(features), make_features(N=4, J=7, seed=1)
    order = [6, 2, 0, 4, 1, 5, 3]
    shares = density.explain(wide.columns([wide.names[j] for j in order]))
    np.testing.assert_array_equal(shares, density.explain(wide)[:, order])
    assert not shares[:, [0, 4, 5]].any()  # two never fitted, one left out
    assert shares[:, [1, 2, 3, 6]].all()


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanations_blame_the_column_at_fault(name, make_features):
    others = with_value(with_value(make_features(N=4, seed=1), 0, 3, np.nan), 0, 1, -np.inf)
    losses = others.losses.copy()
    losses[1] = np.nan
    others = type(others)(**{**vars(others), "losses": losses})
    features = with_value(make_features(), 0, 1, -np.inf)  # column 1 is left out
    shares = create(name).fit(features).explain(others)
    np.testing.assert_array_equal(shares[0], [0, 0, 0, np.inf, 0])
    np.testing.assert_array_equal(shares[1], np.full(5, np.inf))
    assert np.isfinite(shares[2:]).all()


@pytest.mark.parametrize("name", sorted(set(ALL) - set(EXPLAINED)))
def test_what_cannot_be_explained_says_so(name, make_features):
    with pytest.raises(NotExplainableError, match=name):
        create(name).fit(make_features()).explain(make_features())


@pytest.mark.parametrize("name", sorted(set(ALL) - {"likelihood"}))
def test_score_before_fit(name, make_features):
    with pytest.raises(RuntimeError, match="call fit first"):
        create(name).score(make_features())


def test_unknown_names():
    with pytest.raises(ValueError, match="no density 'magic'; there are balanced-neighbours"):
        detectors.create("magic")
    with pytest.raises(ValueError, match="no density 'None'"):
        from_state({}, {})


def test_the_state_of_another_density_is_refused(make_features):
    state = create("typicality").fit(make_features()).state()
    with pytest.raises(ValueError, match="state of 'typicality', not of 'likelihood'"):
        DENSITIES["likelihood"].from_state(*state)
