"""Parts of the losses in a table: they go where the losses of the samples go."""

import json

import numpy as np
import pytest

from fimetric.features import screening
from fimetric.features.saved import KIND
from fimetric.features.table import Features
from fimetric.store import archive
from sealed import reseal

PARTS = ("rate", "distortion", "code/png")


@pytest.fixture
def make(make_features):
    def made(N=6, group_size=2, **fields):
        parts = np.random.default_rng(3).normal(size=(N * group_size, len(PARTS)))
        given = {"parts": parts, "part_names": PARTS, **fields}
        return make_features(N=N, group_size=group_size, **given)

    return made


def test_there_are_none_by_default(make_features):
    for N in (0, 1, 5):
        features = make_features(N=N, group_size=2)
        assert features.parts.shape == (2 * N, 0) and features.part_names == ()
        assert features.group_parts.shape == (N, 0)
    assert make_features(N=4).grouped(2).parts.shape == (4, 0)
    assert make_features(N=4).select([1, 3]).parts.shape == (2, 0)
    some = [make_features(N=2), make_features(N=3)]
    assert Features.concatenate(some).parts.shape == (5, 0)


def test_means_over_the_samples_of_a_group(make):
    features = make(N=4, group_size=3)
    for g in range(4):
        for p in range(len(PARTS)):
            expected = sum(features.parts[3 * g + i, p] for i in range(3)) / 3
            assert features.group_parts[g, p] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rows", [[4, 0], slice(1, 3), [], np.arange(6) % 2 == 1])
def test_selected_rows_take_theirs_along(make, rows):
    features = make()
    chosen = np.arange(6)[rows]
    expected = [features.parts[2 * row + i] for row in chosen for i in range(2)]
    np.testing.assert_array_equal(
        features.select(rows).parts, np.reshape(expected, (-1, len(PARTS)))
    )
    np.testing.assert_array_equal(
        features.select(rows).group_parts, features.group_parts[chosen].reshape(-1, len(PARTS))
    )


def test_columns_leave_them_alone(make):
    features = make(N=40, group_size=1)
    np.testing.assert_array_equal(features.columns(["layer1.weight"]).parts, features.parts)


def test_grouped_by_means(make):
    features = make(N=7, group_size=1)
    grouped = features.grouped(3)
    np.testing.assert_array_equal(grouped.parts, features.parts[:6])
    np.testing.assert_allclose(grouped.group_parts[1], features.parts[3:6].mean(0), rtol=1e-12)


def test_concatenate_undoes_select_and_asks_for_one_set_of_names(make, make_features):
    features = make()
    pieces = [features.select(slice(0, 2)), features.select([]), features.select(slice(2, 6))]
    np.testing.assert_array_equal(Features.concatenate(pieces).parts, features.parts)
    for other in (make(part_names=["a", "b", "c"]), make_features(N=6, group_size=2)):
        with pytest.raises(ValueError, match="part_names of part 1 differs"):
            Features.concatenate([features, other])


def test_saved_and_loaded(make, tmp_path):
    parts = np.full((12, 3), 1.5)
    parts[0] = np.nan, np.inf, -np.inf
    make(parts=parts).save(tmp_path / "table")
    found = Features.load(tmp_path / "table")
    np.testing.assert_array_equal(found.parts, parts)
    assert found.part_names == PARTS and found.parts.dtype == np.float64


def test_a_folder_of_before_there_were_parts_opens_without(make_features, tmp_path):
    make_features(N=3).save(tmp_path / "table")
    description, payload = KIND.read(tmp_path / "table")
    arrays = archive.unpack(payload, tmp_path, "")
    KIND.write(
        tmp_path / "table",
        description,
        archive.pack({n: arrays[n] for n in arrays if n != "parts"}),
    )
    reseal(tmp_path / "table", KIND, part_names=None)
    assert "part_names" not in json.loads((tmp_path / "table/features.json").read_text())["content"]
    found = Features.load(tmp_path / "table")
    assert found.parts.shape == (3, 0) and found.part_names == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parts": np.zeros((11, 3))}, r"parts has shape \(11, 3\).*make it \(12, 3\)"),
        ({"parts": np.zeros(12)}, "parts has shape"),
        ({"part_names": ["a", "b"]}, r"2 part_names.*make it \(12, 2\)"),
        ({"part_names": []}, "parts has shape"),
        ({"part_names": ["a", "b", "a"]}, "part names must differ; repeated: 'a'"),
    ],
)
def test_shapes_and_names_are_checked(make, fields, message):
    with pytest.raises(ValueError, match=message):
        make(**fields)


def test_a_part_that_is_not_finite_makes_no_row_strange(make):
    parts = np.zeros((12, 3))
    parts[5] = np.nan, np.inf, -np.inf
    features = make(parts=parts)
    assert not screening.strange(features).any()
    screening.refuse_strange(features)
    assert np.isnan(features.group_parts[2, 0]) and not np.isnan(features.group_parts[1]).any()
