"""Neighbours in balanced blocks against a loop written out."""

from dataclasses import replace

import numpy as np
import pytest

from fimetric.detectors import BalancedNeighbours, NearestNeighbours

PARTS = ("rate", "distortion", "entropy", "code/png", "code/zlib")


@pytest.fixture
def make(make_features):
    """Return a maker of tables with parts."""

    def made(N=30, seed=0, group_size=1, **fields):
        parts = np.random.default_rng(seed + 100).normal(3, 2, size=(N * group_size, len(PARTS)))
        table = make_features(N=N, J=7, seed=seed, group_size=group_size)
        return replace(table, **{"parts": parts, "part_names": PARTS, **fields})

    return made


def by_hand(fit, other, k, blocks):
    """Loop over rows and blocks of columns: each block's mean squared difference."""
    scores = []
    for row in range(len(other)):
        distances = []
        for near in range(len(fit)):
            total = 0.0
            for take in blocks:
                a, b, all_ = take(other, fit)[row], take(fit, fit)[near], take(fit, fit)
                z = (a - b) / all_.std(0)
                total += (z**2).sum() / len(z)
            distances.append(total)
        scores.append(np.mean(sorted(distances)[:k]))
    return scores


def with_residual(codes, table, fit):
    """Return code lengths, and what of the loss a line in the shortest leaves."""
    losses = fit.group_losses
    tall, height = (
        ((t.group_losses - losses.mean(0)) / losses.std(0)).mean(1) for t in (fit, table)
    )
    short, length = (t.group_parts[:, codes].min(1) for t in (fit, table))
    slope = np.cov(short, tall)[0, 1] / short.var(ddof=1)
    left = height - tall.mean() - slope * (length - short.mean())
    return np.concatenate([table.group_parts[:, codes], left[:, None]], 1)


BLOCKS = (
    lambda t, _: np.concatenate([t.values, t.group_losses], 1),
    lambda t, _: t.group_parts[:, :3],
    lambda t, fit: with_residual([3, 4], t, fit),
)


@pytest.mark.parametrize(("k", "group_size"), [(5, 1), (1, 1), (100, 1), (2, 3)])
def test_scores_are_those_of_a_loop(make, k, group_size):
    fit, other = make(group_size=group_size), make(N=6, seed=1, group_size=group_size)
    found = BalancedNeighbours(k).fit(fit).score(other)
    np.testing.assert_allclose(found, by_hand(fit, other, k, BLOCKS), rtol=1e-9)


def test_a_part_is_found_by_its_name(make):
    fit, other = make(), make(N=6, seed=1)
    order = [4, 2, 0, 3, 1]
    turned = replace(other, parts=other.parts[:, order], part_names=tuple(PARTS[j] for j in order))
    density = BalancedNeighbours().fit(fit)
    np.testing.assert_array_equal(density.score(turned), density.score(other))
    with pytest.raises(ValueError, match=r"no part 'rate', 'entropy' in .*the parts of the loss"):
        density.score(
            replace(other, parts=other.parts[:, [1, 3, 4]], part_names=("distortion", *PARTS[3:]))
        )


def test_without_parts_it_is_the_distance_a_column(make_features):
    fit, other = make_features(J=7), make_features(N=9, J=7, seed=1)
    plain = NearestNeighbours().fit(fit).score(other)
    found = BalancedNeighbours().fit(fit).score(other)
    np.testing.assert_allclose(found, plain / 9, rtol=1e-12)  # seven norms, two losses


def test_what_is_constant_or_no_number_counts_for_nothing(make):
    fit, other = make(), make(N=6, seed=1)
    parts = fit.parts.copy()
    parts[:, 1] = 4.0  # constant
    parts[3, 4] = np.nan  # not of all
    density = BalancedNeighbours().fit(replace(fit, parts=parts))
    assert density.parts_ == PARTS[:4]
    blocks = (
        BLOCKS[0],
        lambda t, _: t.group_parts[:, [0, 2]],
        lambda t, fit: with_residual([3], t, fit),
    )
    np.testing.assert_allclose(density.score(other), by_hand(fit, other, 5, blocks), rtol=1e-9)
    lost = other.parts.copy()
    lost[:, 4] = np.nan
    np.testing.assert_array_equal(density.score(replace(other, parts=lost)), density.score(other))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_strange_part_scores_infinity_and_is_named(make, caplog, value):
    density, other = BalancedNeighbours().fit(make()), make(N=4, seed=1)
    parts = other.parts.copy()
    parts[2, 3] = value
    found = density.score(replace(other, parts=parts))
    assert np.isposinf(found[2]) and "sample 'image2', part 'code/png'" in caplog.text
    kept = [0, 1, 3]
    np.testing.assert_array_equal(found[kept], density.score(other)[kept])


def test_explanations_sum_to_the_score(make):
    density, other = BalancedNeighbours().fit(make()), make(N=6, seed=1)
    np.testing.assert_allclose(density.explain(other).sum(1), density.score(other), rtol=1e-9)
