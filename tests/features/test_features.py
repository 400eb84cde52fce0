import json
import math

import numpy as np
import pytest

from fimetric.features.probe import Probe
from fimetric.features.saved import ARRAYS, KIND, VERSION
from fimetric.features.table import PROVENANCE, Features
from sealed import reseal


def assert_same(a, b):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert getattr(a, name).dtype == getattr(b, name).dtype
    for name in ("names", "views", "ids", *PROVENANCE):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize("size", [{}, {"N": 1, "J": 1, "V": 1}, {"N": 3, "J": 300}, {"N": 0}])
def test_save_and_load_round_trip(make_features, tmp_path, size):
    features = make_features(group_size=2, **size)
    features.save(tmp_path / "table")
    assert_same(Features.load(tmp_path / "table"), features)
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == [
        "features.json",
        "features.safetensors",
    ]


def test_round_trip_keeps_strange_values_and_non_ascii_ids(make_features, tmp_path):
    features = make_features(
        N=2, J=2, V=1, values=[[-np.inf, np.nan], [np.inf, 0]], ids=["é/1.png", "\n"]
    )
    features.save(tmp_path / "table")
    assert_same(Features.load(tmp_path / "table"), features)


def test_round_trip_of_arrays_that_are_not_contiguous(make_features, tmp_path):
    values = np.arange(12.0).reshape(3, 4).T  # safetensors writes memory as it lies
    features = make_features(N=4, J=3, values=values)
    features.save(tmp_path / "table")
    np.testing.assert_array_equal(Features.load(tmp_path / "table").values, values)


def test_numpy_integers_can_be_saved(make_features, tmp_path):
    features = make_features(seed=np.int64(3), dimensions=np.int64(4))
    features.save(tmp_path / "table")
    assert (Features.load(tmp_path / "table").dimensions == 4).all()


def test_save_refuses_an_existing_folder(make_features, tmp_path):
    make_features().save(tmp_path / "table")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        make_features().save(tmp_path / "table")
    make_features(N=3).save(tmp_path / "table", overwrite=True)
    assert len(Features.load(tmp_path / "table")) == 3


def _edit(folder, **changes):
    path = folder / "features.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGE = {
    "no json": (lambda f: (f / "features.json").unlink(), "features.json is missing"),
    "no arrays": (
        lambda f: (f / "features.safetensors").unlink(),
        r"safetensors is damaged .it is missing",
    ),
    "cut json": (lambda f: (f / "features.json").write_text('{"version": 1'), "json is damaged"),
    "binary json": (lambda f: (f / "features.json").write_bytes(b"\xff\xfe"), "json is damaged"),
    "other json": (lambda f: (f / "features.json").write_text("[1]"), "json is damaged"),
    "cut arrays": (
        lambda f: (f / "features.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}"),
        "safetensors is damaged",
    ),
    "version": (
        lambda f: _edit(f, version=VERSION + 1),
        "of version 3, this fimetric reads version 2",
    ),
    "ids": (lambda f: reseal(f, KIND, ids=["only one"]), r"dimensions has shape|1 ids for 40"),
    "unknown field": (lambda f: reseal(f, KIND, colour="red"), "colour"),
    "missing field": (lambda f: reseal(f, KIND, names=None), "names"),
    "field of the wrong type": (lambda f: reseal(f, KIND, names=3), "extract again"),
    "edited by hand": (lambda f: _edit(f, version=VERSION, sha256="0"), "its checksum"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_load_says_what_is_damaged(make_features, tmp_path, damage):
    make_features().save(tmp_path / "table")
    spoil, message = DAMAGE[damage]
    spoil(tmp_path / "table")
    with pytest.raises(ValueError, match=message):
        Features.load(tmp_path / "table")


def test_load_notices_one_flipped_bit(make_features, tmp_path):
    make_features().save(tmp_path / "table")
    path = tmp_path / "table" / "features.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        Features.load(tmp_path / "table")


def test_load_of_no_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no saved Features"):
        Features.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": np.zeros(40)}, r"must be \(N, J\)"),
        ({"values": np.zeros((40, 4))}, "values has shape"),
        ({"losses": np.zeros(40)}, "losses has shape"),
        ({"losses": np.zeros((39, 2))}, "losses has shape"),
        ({"bounds": np.zeros(4)}, "bounds has shape"),
        ({"bounds": np.full(5, -1.0)}, "bounds must be finite and not negative"),
        ({"bounds": np.full(5, np.nan)}, "bounds must be finite and not negative"),
        ({"numels": np.ones(6)}, "numels has shape"),
        ({"numels": -np.ones(5)}, "numels must not be negative"),
        ({"ids": ["a"], "dimensions": np.ones(40)}, "1 ids"),
        ({"dimensions": np.ones(39)}, "dimensions has shape"),
        ({"names": list("abcda")}, "column names must differ; repeated: 'a'"),
        ({"views": ["t", "t"]}, "view names must differ"),
        ({"views": [], "losses": np.zeros((40, 0))}, "at least one view"),
        ({"group_size": 0}, "group_size is 0"),
        ({"dimensions": 0}, "dimensions must be at least 1"),
    ],
)
def test_shapes_and_names_are_checked(make_features, fields, message):
    with pytest.raises(ValueError, match=message):
        make_features(**fields)


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([2, 0], [2, 0]),
        (np.array([True, False, False, True]), [0, 3]),
        (slice(1, 3), [1, 2]),
        ([], []),
        (-1, [3]),
    ],
)
def test_select_takes_the_samples_of_its_groups_along(make_features, rows, chosen):
    features = make_features(N=4, group_size=3)
    selected = features.select(rows)
    samples = [3 * row + i for row in chosen for i in range(3)]
    np.testing.assert_array_equal(selected.values, features.values[chosen])
    np.testing.assert_array_equal(selected.losses, features.losses[samples])
    assert selected.ids == tuple(f"image{i}" for i in samples)
    assert len(selected) == len(chosen)


def test_select_refuses_rows_there_are_not(make_features):
    with pytest.raises(IndexError):
        make_features(N=4).select([4])


def test_columns_in_the_order_asked_for(make_features):
    features = make_features(J=4)
    chosen = features.columns(["layer3.weight", "layer1.weight"])
    np.testing.assert_array_equal(chosen.values, features.values[:, [3, 1]])
    np.testing.assert_array_equal(chosen.numels, [40, 20])
    assert chosen.names == ("layer3.weight", "layer1.weight")
    assert chosen.ids == features.ids


def test_columns_names_those_missing(make_features):
    with pytest.raises(ValueError, match=r"no column 'head.bias', 'x'"):
        make_features().columns(["layer1.weight", "head.bias", "x"])


def test_concatenate_undoes_select(make_features):
    features = make_features(N=6, group_size=2)
    parts = [features.select(slice(0, 2)), features.select([]), features.select(slice(2, 6))]
    assert_same(Features.concatenate(parts), features)


def test_concatenate_keeps_the_largest_bound(make_features):
    parts = [make_features(J=2, bounds=[1e-9, 2e-9]), make_features(J=2, bounds=[3e-9, 1e-9])]
    np.testing.assert_array_equal(Features.concatenate(parts).bounds, [3e-9, 2e-9])


PROBE = Probe((), ((2.0,),), 1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"fingerprint": "aa"},
        {"objective": "NLL"},
        {"names": list("abcde")},
        {"views": ["x", "y"]},
        {"numels": np.ones(5)},
        {"grouping": "mean"},
        {"unsteady": ("a",)},
        {"probe": Probe((), ((1.0,),), 1e-5)},
    ],
)
def test_concatenate_refuses_tables_of_different_origin(make_features, fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))} of part 1 differs"):
        Features.concatenate(
            [make_features(probe=PROBE), make_features(**{"probe": PROBE, **fields})]
        )


def test_concatenate_nothing():
    with pytest.raises(ValueError, match="nothing to concatenate"):
        Features.concatenate([])


def test_losses_per_group_and_in_bits(make_features):
    losses = np.array([[1.0, 2.0], [3.0, 6.0], [0.0, 0.0], [math.log(2), 0.0]])
    features = make_features(N=2, group_size=2, losses=losses)
    np.testing.assert_array_equal(features.group_losses, [[2, 4], [math.log(2) / 2, 0]])
    expected = np.array([1.5, 4.5, 0, math.log(2) / 2]) / (12 * math.log(2))
    np.testing.assert_allclose(features.bits_per_dim, expected, rtol=1e-15)


def test_repr_is_short(make_features):
    text = repr(make_features(N=3, J=1300))
    assert text == "Features(N=3, J=1300, V=2, group_size=1, objective='Denoising(t=0)')"
