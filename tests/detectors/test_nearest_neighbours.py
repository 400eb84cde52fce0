"""Nearest neighbours and the mean z-score against loops written out."""

import numpy as np
import pytest

from fimetric.detectors import MeanZScore, NearestNeighbours


def by_hand(fit, other, k):
    """Loop over rows: standardise, sort all squared distances, average the k smallest."""
    y = np.concatenate([fit.values, fit.group_losses], 1)
    mean, deviation = y.mean(0), y.std(0)
    rows = (y - mean) / deviation
    scores = []
    for value in np.concatenate([other.values, other.group_losses], 1):
        z = (value - mean) / deviation
        distances = sorted(sum((a - b) ** 2 for a, b in zip(z, row, strict=True)) for row in rows)
        scores.append(sum(distances[:k]) / len(distances[:k]))
    return np.array(scores)


@pytest.mark.parametrize(
    ("N", "J", "k"), [(40, 5, 5), (5, 5, 5), (12, 30, 1), (3, 2, 5), (2, 1, 1)]
)
def test_scores_are_those_of_a_loop(make_features, N, J, k):
    fit, other = make_features(N=N, J=J), make_features(N=9, J=J, seed=1)
    found = NearestNeighbours(k).fit(fit).score(other)
    np.testing.assert_allclose(found, by_hand(fit, other, k), rtol=1e-9)


def test_of_groups_too(make_features):
    fit, other = make_features(N=8, group_size=3), make_features(N=4, group_size=3, seed=2)
    found = NearestNeighbours(2).fit(fit).score(other)
    np.testing.assert_allclose(found, by_hand(fit, other, 2), rtol=1e-9)


def test_a_row_of_the_fit_is_at_distance_zero_even_where_all_are_far_away(make_features):
    """Distances are taken as they are; the quick formula would cancel."""
    fit = make_features(N=20, J=3)
    far = type(fit)(**{**vars(fit), "values": fit.values + 1e6})
    density = NearestNeighbours(1).fit(far)
    assert (density.score(far) == 0).all()


def test_loss_and_norms_both_matter(make_features):
    fit = make_features(N=50)
    density = NearestNeighbours().fit(fit)
    strange = type(fit)(**{**vars(fit), "losses": fit.losses + 50})
    assert (density.score(strange) > density.score(fit) + 100).all()


def test_a_constant_loss_is_left_out(make_features):
    fit = make_features(N=20, losses=np.full((20, 2), 3.0))
    other = type(fit)(**{**vars(fit), "losses": np.full((20, 2), 99.0)})
    density = NearestNeighbours().fit(fit)
    np.testing.assert_array_equal(density.score(other), density.score(fit))


def test_explanations_share_the_losses_out(make_features):
    fit, other = make_features(N=30, J=4), make_features(N=6, J=4, seed=1)
    density = NearestNeighbours().fit(fit)
    shares = density.explain(other)
    np.testing.assert_allclose(shares.sum(1), density.score(other), rtol=1e-9)
    strange = type(other)(**{**vars(other), "losses": other.losses + 50})
    more = density.explain(strange) - shares
    assert more.min() > 0


def test_no_rows_and_no_neighbours(make_features):
    density = NearestNeighbours().fit(make_features())
    assert density.score(make_features().select([])).shape == (0,)
    assert density.explain(make_features().select([])).shape == (0, 5)
    with pytest.raises(ValueError, match="neighbours must be at least 1, not 0"):
        NearestNeighbours(0).fit(make_features())


def test_two_clusters_are_both_at_home(make_features):
    """A Gaussian would call the empty middle most ordinary."""
    one = make_features(N=60, J=3)
    values = one.values + np.repeat([-8, 8], 30)[:, None]
    density = NearestNeighbours().fit(type(one)(**{**vars(one), "values": values}))
    middle = type(one)(**{**vars(one), "values": one.values})
    assert density.score(middle).min() > np.median(
        density.score(type(one)(**{**vars(one), "values": values}))
    )


def test_mean_z_scores_are_one_sided(make_features):
    fit, other = make_features(N=30, J=4), make_features(N=6, J=4, seed=1)
    density = MeanZScore().fit(fit)
    z = (other.values - fit.values.mean(0)) / fit.values.std(0)
    np.testing.assert_allclose(density.score(other), z.mean(1), rtol=1e-12)
    low = type(other)(**{**vars(other), "values": other.values - 100})
    assert (density.score(low) < density.score(other)).all()
