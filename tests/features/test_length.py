"""Columns and losses brought to one length, against what they were made with."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fimetric.features import smooth
from fimetric.features.length import FEWEST, LengthTrend, lengths
from fimetric.store.archive import pack, unpack

N, J = 4000, 3


def mean(T):
    """Return a mean that is no line in log T."""
    x = np.log(T)[:, None]
    return np.array([-5.0, 0.0, 3.0]) + np.array([1.0, 0.0, -2.0]) * x + 0.3 * np.abs(x - 4)


def deviation(T):
    return 0.7 * (T[:, None] / 64) ** np.array([-0.5, 0.0, 0.25])


@pytest.fixture
def table(make_features):
    """Return rows of 16 to 256 dimensions, and the draws that they were made of."""
    random = np.random.default_rng(0)
    T = np.exp(random.uniform(np.log(16), np.log(257), N)).astype(int)
    draws, own = random.normal(size=(N, J)), random.normal(size=(N, 1))
    values = mean(T) + deviation(T) * draws
    losses = T[:, None] * (4 - 0.2 * np.log(T)[:, None] + 0.5 / np.sqrt(T)[:, None] * own)
    return make_features(N, J, 1, values=values, losses=losses, dimensions=T), draws, own


def assert_alike(some, all_rows):
    """Assert that some hundreds of rows have the means and deviations of all, by four errors."""
    errors = 4 * all_rows.std(0) / np.sqrt(len(some))
    assert (np.abs(some.mean(0) - all_rows.mean(0)) < errors).all()
    assert (np.abs(some.std(0) - all_rows.std(0)) < errors).all()


def test_rows_are_what_they_would_be_at_the_reference_length(table):
    features, draws, own = table
    trend = LengthTrend.fit(features)
    found = trend.residuals(features)
    assert trend.reference == round(np.exp(np.log(features.dimensions).mean())) == 63
    at = np.array([63.0])
    expected = mean(at) + deviation(at) * draws
    np.testing.assert_allclose(found.values, expected, atol=0.2)  # a tent on five knots
    assert np.sqrt(np.square(found.values - expected).mean()) < 0.05
    nats = 63 * (4 - 0.2 * np.log(63) + 0.5 / np.sqrt(63) * own)
    np.testing.assert_allclose(found.losses, nats, rtol=0.02)
    assert (found.dimensions == 63).all()
    assert found.ids == features.ids and found.names == features.names


def test_nothing_tells_the_length_of_other_rows(table):
    features, _, _ = table
    trend = LengthTrend.fit(features.select(slice(0, N // 2)))
    held_out = features.select(slice(N // 2, None))
    found = trend.residuals(held_out)
    for T in ((16, 24), (40, 60), (180, 257)):
        rows = (held_out.dimensions >= T[0]) & (held_out.dimensions < T[1])
        assert_alike(found.values[rows], found.values)
        assert_alike(found.losses[rows], found.losses)
        assert stats.kstest(held_out.values[rows, 0], held_out.values[:, 0]).pvalue < 1e-6


def test_five_knots_and_the_penalty_of_the_smallest_criterion():
    """One column against least squares written out, and the criterion by leverages."""
    random = np.random.default_rng(1)
    x = random.uniform(0, 4, 60)
    y = np.sin(x) + 0.3 * random.normal(size=60)
    knots = np.linspace(0, 4, smooth.KNOTS)
    design = np.stack([np.interp(x, knots, row) for row in np.eye(smooth.KNOTS)], 1)
    np.testing.assert_allclose(smooth.hats(x, knots), design, atol=1e-12)
    bends = np.diff(np.eye(smooth.KNOTS), 2, axis=0)
    fits = {}
    for penalty in 60 * smooth.PENALTIES:
        hat = design @ np.linalg.solve(design.T @ design + penalty * bends.T @ bends, design.T)
        rest = y - hat @ y
        fits[60 * rest @ rest / (60 - np.trace(hat)) ** 2] = hat @ y
    found = smooth._mean(design, y[:, None], np.ones((60, 1)))
    np.testing.assert_allclose(design @ found[:, 0], fits[min(fits)], atol=1e-9)
    assert list(fits).index(min(fits)) not in (0, len(fits) - 1)


def test_a_line_stays_a_line_beyond_the_knots_and_between_few_lengths(make_features):
    T = np.repeat([32, 128], 30)
    values = np.stack([2 * np.log(T), -np.log(T)], 1) + np.tile([[0.1], [-0.1]], (30, 1))
    losses = 3.0 * T + np.sqrt(T) * np.tile([1, -1], 30)
    trend = LengthTrend.fit(
        make_features(60, 2, 1, values=values, losses=losses[:, None], dimensions=T)
    )
    far = np.array([8, 512])
    other = make_features(
        2, 2, 1, values=np.log(far)[:, None] * [2, -1], losses=3.0 * far[:, None], dimensions=far
    )
    found = trend.residuals(other)
    np.testing.assert_allclose(found.values, np.log([[64, 64]] * 2) * [2, -1], atol=1e-6)
    np.testing.assert_allclose(found.losses, 3.0 * 64, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e6])
def test_the_deviations_slope_is_found_whatever_the_scale(scale):
    random = np.random.default_rng(2)
    x = random.uniform(1, 6, 4000)
    residuals = scale * np.exp(np.outer(x, [-0.5, 0, 0.4])) * random.normal(size=(4000, 3))
    np.testing.assert_allclose(smooth._slopes(x, residuals), [-0.5, 0, 0.4], atol=0.03)
    assert (smooth._slopes(x, 0 * residuals) == 0).all()


def test_a_lone_row_at_an_end_does_not_take_all_weight(make_features):
    T = np.append(np.full(99, 64), 70)
    table = make_features(100, 2, 1, dimensions=T)
    found = LengthTrend.fit(table).residuals(table)
    assert np.isfinite(found.values).all()
    np.testing.assert_allclose(found.values[:99].std(0), table.values[:99].std(0), rtol=0.15)


def test_the_order_of_rows_and_columns_changes_nothing(table):
    features, _, _ = table
    part = features.select(slice(0, 200))
    order = np.random.default_rng(3).permutation(200)
    one = LengthTrend.fit(part).residuals(part)
    other = LengthTrend.fit(part.select(order)).residuals(part.columns(part.names[::-1]))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-9)
    assert other.names == part.names


def test_noise_stays_noise_and_strange_rows_stay_strange(make_features):
    random = np.random.default_rng(4)
    values = random.normal(size=(50, 4))
    values[7, 1] = -80.0  # at the rounding bound
    T = random.integers(16, 200, 50)
    bounds = np.exp([-40.0, -80.0, -40.0, -np.inf])
    fitting = make_features(50, 4, 1, values=values, dimensions=T, bounds=bounds)
    trend = LengthTrend.fit(fitting)
    np.testing.assert_array_equal(trend.noise, [False, True, False, False])
    later = values[:3].copy()
    later[0, 0], later[1, 2], later[2] = -np.inf, np.nan, np.inf
    low = later.copy()
    low[0, 0] = -40.0
    found, floored = (
        trend.residuals(make_features(3, 4, 1, values=v, dimensions=T[:3], losses=[[np.inf]] * 3))
        for v in (later, low)
    )
    assert np.isneginf(found.values[:2, 1]).all() and np.isinf(found.losses).all()
    assert np.isnan(found.values[1, 2]) and np.isposinf(found.values[2]).all()
    assert found.values[0, 0] == floored.values[0, 0] > -1e3  # a later zero counts as its bound
    exact = trend.residuals(
        make_features(1, 4, 1, values=[[0, 0, 0, -np.inf]], dimensions=T[:1], losses=[[1.0]])
    )
    assert np.isneginf(exact.values[0, 3])  # no bound is known


def test_a_group_is_the_mean_of_its_samples(make_features):
    random = np.random.default_rng(5)
    T = random.integers(16, 200, 240)
    values = np.log(T)[:, None] * [1.0, -2.0] + 1e-3 * random.normal(size=(240, 2))
    single = make_features(240, 2, 1, values=values, dimensions=T)
    grouped = single.grouped(4)
    np.testing.assert_array_equal(lengths(grouped), T.reshape(-1, 4).mean(1))
    found = LengthTrend.fit(grouped).residuals(grouped)
    np.testing.assert_allclose(
        found.values.std(0), 5e-4, rtol=0.3
    )  # nothing of the lengths is left
    assert found.group_size == 4 and len(found.losses) == 240


def test_one_length_and_too_few_rows_leave_the_table_alone(make_features, caplog):
    assert LengthTrend.fit(make_features(100, dimensions=64)) is None
    T = np.random.default_rng(6).permutation(np.repeat([3, 4], 60))
    pairs = make_features(120, dimensions=T).select(np.argsort(T[:])).grouped(2)
    mixed = replace(pairs, dimensions=np.tile([3, 4], 60))
    assert LengthTrend.fit(mixed) is None  # each row holds both lengths
    assert not caplog.text
    few = make_features(FEWEST - 1, dimensions=np.arange(FEWEST - 1) + 5)
    assert LengthTrend.fit(few) is None
    assert f"the {FEWEST - 1} rows to fit on differ in length and are too few" in caplog.text


def test_strange_rows_are_refused_by_name(make_features):
    values = np.random.default_rng(7).normal(size=(30, 5))
    values[4, 2] = np.nan
    table = make_features(30, values=values, dimensions=np.arange(30) + 5)
    with pytest.raises(ValueError, match=r"'image4', layer 'layer2\.weight'"):
        LengthTrend.fit(table)


def test_state_comes_back_to_the_bit(table, tmp_path):
    features, _, _ = table
    trend = LengthTrend.fit(features)
    arrays, description = trend.state()
    again = LengthTrend.from_state(unpack(pack(arrays), tmp_path, "again"), description)
    np.testing.assert_array_equal(
        again.residuals(features).values, trend.residuals(features).values
    )


@pytest.fixture
def parted(table):
    """Return the table with parts made as its columns are, of other draws."""
    features, draws, _ = table
    T = features.dimensions
    parts = mean(T) + deviation(T) * draws[::-1]
    return replace(features, parts=parts, part_names=("nll", "entropy", "code/zlib"))


def test_parts_are_levelled_as_columns_are(parted, table):
    trend, draws = LengthTrend.fit(parted), table[1]
    found = trend.residuals(parted)
    at = np.array([63.0])
    expected = mean(at) + deviation(at) * draws[::-1]
    assert np.sqrt(np.square(found.parts - expected).mean()) < 0.06  # other draws, another fit
    assert found.part_names == parted.part_names
    rows = parted.dimensions < 24
    assert_alike(found.parts[rows], found.parts)
    bare = LengthTrend.fit(table[0])
    np.testing.assert_array_equal(bare.residuals(table[0]).values, found.values)


def test_parts_of_a_few_and_in_another_order_are_the_same(parted, table):
    trend = LengthTrend.fit(parted)
    whole = trend.residuals(parted)
    some = replace(parted, parts=parted.parts[:, [2, 0]], part_names=("code/zlib", "nll"))
    found = trend.residuals(some)
    np.testing.assert_array_equal(found.parts, whole.parts[:, [0, 2]])
    assert found.part_names == ("nll", "code/zlib")
    assert trend.residuals(table[0]).part_names == ()
    assert LengthTrend.fit(table[0]).residuals(parted).part_names == ()


def test_a_part_that_is_no_number_stays_as_it_is(parted):
    parts = parted.parts.copy()
    parts[7, 2] = np.nan
    strange = replace(parted, parts=parts)
    found = LengthTrend.fit(strange).residuals(strange)
    np.testing.assert_array_equal(found.parts[:, 2], parts[:, 2])
    expected = LengthTrend.fit(parted).residuals(parted).parts
    np.testing.assert_array_equal(found.parts[:, :2], expected[:, :2])
    later = LengthTrend.fit(parted).residuals(strange).parts
    assert np.isnan(later[7, 2]) and np.isfinite(np.delete(later, 7, 0)).all()


def test_code_lengths_are_levelled_by_their_logarithms_and_stay_positive(make_features):
    random = np.random.default_rng(6)
    T = random.integers(16, 257, 400)
    codes = 4 * T**-0.4 * np.exp(0.05 * random.normal(size=400))
    own = make_features(400, 1, 1, dimensions=T)
    own = replace(own, parts=codes[:, None], part_names=("code/zlib",))
    trend = LengthTrend.fit(own)
    simple = make_features(1, 1, 1, dimensions=np.array([256]))
    simple = replace(simple, parts=np.array([[0.02]]), part_names=("code/zlib",))
    at = 4 * trend.reference**-0.4
    expected = at * 0.02 / (4 * 256**-0.4)  # as much shorter than own texts of its length
    assert expected == pytest.approx(trend.residuals(simple).parts[0, 0], rel=0.25)
    found = trend.residuals(own).parts[:, 0]
    np.testing.assert_allclose(np.log(found), np.log(codes * at / (4 * T**-0.4)), atol=0.05)
    again = LengthTrend.from_state(*trend.state())
    np.testing.assert_array_equal(again.residuals(own).parts[:, 0], found)


def test_a_state_from_before_logarithms_levels_as_it_did(parted):
    positive = replace(parted, parts=np.exp(parted.parts))
    arrays, told = LengthTrend.fit(positive).state()
    assert told.pop("log_parts") == ["code/zlib"]
    old = LengthTrend.from_state(arrays, told)
    assert old.log_parts == () and np.isfinite(old.residuals(positive).parts).all()


def test_a_state_without_parts_is_one_of_before_they_were_kept(table):
    trend = LengthTrend.fit(table[0])
    arrays, description = trend.state()
    for name in ("parts", "part_slopes"):
        del arrays[name]
    del description["part_names"]
    again = LengthTrend.from_state(arrays, description)
    found = again.residuals(table[0])
    np.testing.assert_array_equal(found.values, trend.residuals(table[0]).values)
    assert found.part_names == ()
