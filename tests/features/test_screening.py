import logging

import numpy as np
import pytest

from fimetric.features.screening import describe_strange, informative, strange


def values_of(N=40, J=5):
    return np.random.default_rng(0).normal(size=(N, J))


def test_keeps_ordinary_columns_and_says_nothing(make_features, caplog):
    with caplog.at_level(logging.INFO):
        assert informative(make_features()).all()
    assert not caplog.records


def test_leaves_out_noise_zeros_and_constants_by_name(make_features, caplog):
    values = values_of()
    values[:, 0] -= 40  # rounding noise: spread, but below the bound
    values[3, 1] = -np.inf  # one exact zero
    values[:, 2] = np.log(0.1)  # no spread
    values[0, 3] = np.log(1e-12)  # exactly at the bound
    with caplog.at_level(logging.INFO, logger="fimetric"):
        kept = informative(make_features(values=values))
    np.testing.assert_array_equal(kept, [False, False, False, False, True])
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert message.startswith("left out 4 of 5 layers")
    assert "layer0.weight, layer1.weight, layer2.weight, layer3.weight" in message


def test_a_spread_of_float32_rounding_is_none(make_features):
    values = values_of()
    values[:, 1] = -7 + 1e-7 * values[:, 1]
    np.testing.assert_array_equal(
        informative(make_features(values=values)), [True, False, True, True, True]
    )


def test_a_small_but_real_spread_is_kept(make_features):
    values = values_of()
    values[:, 1] = -7 + 1e-4 * values[:, 1]
    assert informative(make_features(values=values)).all()


def test_without_a_bound_only_exact_zeros_are_noise(make_features):
    values = values_of() - 1000
    values[0, 2] = -np.inf
    kept = informative(make_features(values=values, bounds=np.zeros(5)))
    np.testing.assert_array_equal(kept, [True, True, False, True, True])


def test_no_column_left(make_features):
    values = np.full((40, 5), -np.inf)
    values[:, 0] = 1
    with pytest.raises(ValueError, match="none of the 5 layers is informative: 4 have"):
        informative(make_features(values=values))


@pytest.mark.parametrize("N", [0, 1])
def test_too_few_rows(make_features, N):
    with pytest.raises(ValueError, match=f"fit a density to {N} rows"):
        informative(make_features(N=N))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_strange_value_is_refused_by_name(make_features, value):
    values = values_of()
    values[7, 2] = value
    values[9, 0] = value
    with pytest.raises(ValueError, match=r"sample 'image7', layer 'layer2.weight'.*1 more row"):
        informative(make_features(values=values))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_strange_loss_is_refused_by_name(make_features, value):
    losses = np.zeros((6, 2))
    losses[3, 1] = value
    features = make_features(N=3, group_size=2, losses=losses)
    np.testing.assert_array_equal(strange(features), [False, True, False])
    with pytest.raises(ValueError, match="sample 'image3', view 't=1': loss"):
        informative(features)


def test_strange_value_in_a_group_names_its_samples(make_features):
    values = values_of(N=3)
    values[1, 0] = np.nan
    features = make_features(N=3, group_size=2, values=values)
    assert "sample 'image2', 'image3', layer 'layer0.weight'" in describe_strange(features)


def test_an_exact_zero_is_not_strange(make_features):
    features = make_features(N=2, values=np.full((2, 5), -np.inf))
    assert not strange(features).any()
    assert describe_strange(features) == ""
    assert strange(make_features(N=0)).shape == (0,)
