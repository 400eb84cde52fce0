"""Which samples make a group."""

import numpy as np

from fimetric.features.groups import disjoint, means, overlapping


def test_disjoint_groups_share_no_sample_and_leave_the_rest_out():
    rows = disjoint(23, 5, seed=0)
    assert rows.shape == (4, 5) and len(set(rows.ravel())) == 20
    assert not np.array_equal(rows, disjoint(23, 5, seed=1))
    np.testing.assert_array_equal(rows, disjoint(23, 5, seed=0))


def test_consecutive_groups_follow_one_another():
    np.testing.assert_array_equal(disjoint(7, 3, seed=None), [[0, 1, 2], [3, 4, 5]])


def test_overlapping_groups_have_no_sample_twice_and_use_all():
    rows = overlapping(12, 5, 200, seed=0)
    assert rows.shape == (200, 5)
    assert all(len(set(row)) == 5 for row in rows)
    assert set(rows.ravel()) == set(range(12))
    assert len({tuple(sorted(row)) for row in rows}) > 100


def test_means_are_of_the_rows_named(make_features):
    table = make_features(N=10, J=3)
    rows = np.array([[0, 3], [9, 1]])
    found = means(table, rows)
    np.testing.assert_allclose(found.values[1], (table.values[9] + table.values[1]) / 2)
    np.testing.assert_allclose(found.group_losses[0], (table.losses[0] + table.losses[3]) / 2)
    assert found.group_size == 2 and found.group_ids(0) == ("image0", "image3")
    single = means(table, np.array([[4], [2]]))
    np.testing.assert_array_equal(single.values, table.values[[4, 2]])
