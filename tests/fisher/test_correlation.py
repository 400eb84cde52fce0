"""Correlations against numpy, and their summaries on data whose correlation is known."""

import numpy as np
import pytest

from fimetric.fisher.correlation import Correlation, correlate


@pytest.fixture
def of(make_features):
    """Return a maker of tables without rounding bounds."""

    def make(values, **fields):
        values = np.asarray(values, dtype=np.float64)
        N, J = values.shape
        return make_features(N=N, J=J, values=values, bounds=np.zeros(J), **fields)

    return make


def equicorrelated(n, K, rho, seed=0):
    random = np.random.default_rng(seed)
    shared, own = random.normal(size=(n, 1)), random.normal(size=(n, K))
    return np.sqrt(rho) * shared + np.sqrt(1 - rho) * own


@pytest.mark.parametrize("shift", [0.0, -69.0, 1e6])
def test_matrix_is_numpys(make_features, shift):
    features = make_features(N=30, J=6)
    moved = make_features(N=30, J=6, values=features.values + shift, bounds=np.zeros(6))
    found = correlate(moved)
    np.testing.assert_allclose(found.matrix, np.corrcoef(features.values.T), atol=1e-9)
    assert (np.diag(found.matrix) == 1).all()
    assert found.names == features.names and found.rows == 30 and found.dropped == 0


def test_summaries_are_those_of_loops(make_features):
    found = correlate(make_features(N=20, J=6))
    r, n, K = found.matrix, 20, 6
    for d in range(1, K):
        assert found.by_distance[d - 1] == pytest.approx(
            np.mean([r[i, i + d] for i in range(K - d)])
        )
    pairs = [(i, j) for i in range(K) for j in range(i + 1, K)]
    assert found.mean_absolute == pytest.approx(np.mean([abs(r[p]) for p in pairs]))
    far = [abs(r[i, j]) for i, j in pairs if j - i > 2]
    assert found.mean_absolute_beyond(2) == pytest.approx(np.mean(far))
    assert np.isnan(found.mean_absolute_beyond(K - 1))
    assert np.isfinite(found.mean_absolute_beyond(K - 2))
    corrected = [(r[p] ** 2 * (n - 1) - 1) / (n - 2) for p in pairs]
    assert found.mean_square == pytest.approx(np.mean(corrected))
    assert found.effective_number == pytest.approx(K**2 / (K + 2 * sum(corrected)))


@pytest.mark.parametrize("n", [5, 20, 200])
@pytest.mark.parametrize(("rho", "tolerance"), [(0.0, 0.0), (0.3, 0.4), (0.8, 0.4), (1.0, 0.0)])
def test_mean_square_is_corrected_for_sampling(of, n, rho, tolerance):
    squares = [correlate(of(equicorrelated(n, 8, rho, seed))).mean_square for seed in range(200)]
    error = np.std(squares) / np.sqrt(200)
    # the bias that is left between the ends is of order rho^2 / n; uncorrected it is 1 / n at 0
    assert abs(np.mean(squares) - rho**2) <= 4 * error + tolerance * rho**2 / n + 1e-12
    if rho == 0:
        assert 1 / n > 8 * error  # so a missing correction would be seen


def test_independent_layers_count_fully(of):
    found = correlate(of(equicorrelated(400, 60, 0)))
    assert 58 < found.effective_number <= 60
    raw = (found.matrix**2).sum()
    assert 60**2 / raw < 54  # uncorrected squares would not
    assert found.mean_absolute == pytest.approx(np.sqrt(2 / (np.pi * 400)), rel=0.05)


def test_fewer_correlated_squares_than_expected_do_not_count_more_than_all():
    matrix = np.eye(5)  # more orthogonal than five independent columns of six rows ever are
    assert Correlation(matrix, tuple("abcde"), 6).mean_square < 0
    assert Correlation(matrix, tuple("abcde"), 6).effective_number == 5


def test_layers_that_are_all_alike_count_once(of):
    y = np.random.default_rng(0).normal(size=(50, 1))
    found = correlate(of(y * [1, 2, -3, 0.1] + [5, 0, 1e3, -70]))
    assert found.effective_number == pytest.approx(1, rel=1e-9)
    assert np.abs(found.matrix).min() == pytest.approx(1, rel=1e-9)
    np.testing.assert_allclose(found.by_distance, [-1 / 3, 0, 1], atol=1e-9)


def test_blocks_count_once_each(of):
    blocks = np.random.default_rng(0).normal(size=(2000, 5))
    found = correlate(of(np.repeat(blocks, 8, axis=1)))
    assert found.effective_number == pytest.approx(5, rel=0.02)


def test_known_correlation_is_found(of):
    """A chain with correlation 0.8^distance."""
    random = np.random.default_rng(0)
    y = [random.normal(size=4000)]
    for _ in range(11):
        y.append(0.8 * y[-1] + 0.6 * random.normal(size=4000))
    found = correlate(of(np.transpose(y)))
    np.testing.assert_allclose(found.by_distance, 0.8 ** np.arange(1, 12), atol=0.03)
    rho = 0.8 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    assert found.effective_number == pytest.approx(144 / (rho**2).sum(), rel=0.03)


def test_rows_that_are_not_finite_are_dropped_and_counted(of):
    y = equicorrelated(20, 4, 0.5)
    broken = np.vstack([y, y[:4]])
    broken[20, 0], broken[21, 1], broken[22, 2] = -np.inf, np.nan, np.inf
    losses = np.ones((24, 1))
    losses[23] = np.nan
    features = of(broken, losses=losses, views=("loss",))
    found = correlate(features, features.names)
    np.testing.assert_allclose(found.matrix, np.corrcoef(y.T), atol=1e-12)
    assert (found.rows, found.dropped) == (20, 4)


def test_only_the_layers_asked_for_decide_which_rows_are_dropped(of):
    y = equicorrelated(20, 4, 0.5)
    y[:19, 3] = -np.inf
    found = correlate(of(y), ["layer2.weight", "layer0.weight"])
    assert found.names == ("layer2.weight", "layer0.weight")
    assert found.matrix[0, 1] == pytest.approx(np.corrcoef(y[:, 0], y[:, 2])[0, 1])
    assert found.dropped == 0


def test_by_default_layers_are_those_that_are_informative(of, make_features):
    y = equicorrelated(20, 5, 0.5)
    y[0, 1] = -np.inf  # an exact zero
    y[:, 2] = 3.0  # constant
    y[4, 3] = np.nan  # a strange row leaves its layer
    found = correlate(of(y))
    assert found.names == ("layer0.weight", "layer3.weight", "layer4.weight")
    assert found.dropped == 1


def test_constant_layers_are_left_out_with_a_line_in_the_log(of, caplog):
    y = equicorrelated(20, 4, 0.5)
    y[:, 1] = 0.1  # its mean over 20 rows is not 0.1 to the last bit
    features = of(y)
    with caplog.at_level("INFO", logger="fimetric"):
        found = correlate(features, features.names)
    assert found.names == ("layer0.weight", "layer2.weight", "layer3.weight")
    assert "constant: layer1.weight" in caplog.text


def test_too_little_is_refused(of):
    y = equicorrelated(4, 3, 0.5)
    features = of(y)
    with pytest.raises(ValueError, match="2 of 2 rows are finite"):
        correlate(features.select([0, 1]), features.names)
    with pytest.raises(ValueError, match="1 of 1 layers vary"):
        correlate(features, features.names[:1])
    with pytest.raises(ValueError, match="no column 'other'"):
        correlate(features, ["other", "layer0.weight"])
    with pytest.raises(ValueError, match="0 of 4 rows are finite in all 3 layers"):
        correlate(of(np.full((4, 3), -np.inf)), features.names)
    assert correlate(features.select([0, 1, 2])).rows == 3
