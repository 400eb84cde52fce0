"""Opening named sets, files and folders, and what is said of bad ones."""

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from fimetric.data import Samples, load

RNG = np.random.default_rng(0)


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format="PNG")
    return out.getvalue()


def write_table(path: Path, arrays: list[np.ndarray], **columns: list) -> None:
    cells = [{"bytes": png(a), "path": f"p/{i}.png"} for i, a in enumerate(arrays)]
    pq.write_table(pa.table({"image": cells, "label": [0] * len(arrays), **columns}), path)


@pytest.fixture
def grey() -> list[np.ndarray]:
    return [RNG.integers(256, size=(28, 28), dtype=np.uint8) for _ in range(5)]


def test_parquet_folder_gives_resized_grey_images_and_their_paths(tmp_path, grey):
    write_table(tmp_path / "test.parquet", grey)
    found = load(tmp_path)
    expected = np.asarray(Image.fromarray(grey[3]).resize((32, 32), Image.Resampling.BILINEAR))
    assert found.shape == (1, 32, 32) and found.quantised
    assert (found.values[3, 0].numpy() == expected).all()
    assert found.ids == [f"p/{i}.png" for i in range(5)]
    assert found.name == tmp_path.name
    assert len(load(tmp_path, limit=2)) == 2
    assert load(tmp_path, size=28).values[1, 0].numpy().tolist() == grey[1].tolist()


def test_column_id_goes_before_path(tmp_path, grey):
    write_table(tmp_path / "test.parquet", grey, id=list("abcde"))
    assert load(tmp_path / "test.parquet").ids == list("abcde")


def test_name_is_looked_up_under_the_environment_variable(tmp_path, grey, monkeypatch):
    (tmp_path / "mine").mkdir()
    write_table(tmp_path / "mine" / "train.parquet", grey)
    monkeypatch.setenv("FIMETRIC_DATA", str(tmp_path))
    assert len(load("mine", "train")) == 5
    with pytest.raises(ValueError, match=r"no split 'test'; it has train"):
        load("mine")


def test_an_existing_path_goes_before_a_bundled_name(tmp_path, grey, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    write_table(tmp_path / "digits" / "test.parquet", grey)
    assert len(load("digits")) == 5


def test_names_of_sounds_are_no_sounds(tmp_path):
    table = pa.table({"audio": ["a.wav", "b.wav"], "label": [0, 1]})
    pq.write_table(table, tmp_path / "test.parquet")
    with pytest.raises(
        ValueError, match=r"'audio' holds texts.*sounds are samples; store the bytes"
    ):
        load(tmp_path)


def test_damaged_tables_and_pictures_are_named(tmp_path, grey):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"a\.parquet is damaged"):
        load(tmp_path / "a.parquet")
    cells = [{"bytes": png(grey[0]), "path": None}, {"bytes": png(grey[1])[:60], "path": None}]
    pq.write_table(pa.table({"image": cells}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, row 1, column 'image' is damaged"):
        load(tmp_path / "b.parquet")
    pq.write_table(pa.table({"image": [cells[0]], "id": [None]}), tmp_path / "c.parquet")
    assert load(tmp_path / "c.parquet").ids == ["c/0"]
    pq.write_table(pa.table({"y": [1]}), tmp_path / "d.parquet")
    with pytest.raises(ValueError, match="no column 'image'; it has y"):
        load(tmp_path / "d.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "e.parquet")
    with pytest.raises(ValueError, match="no rows"):
        load(tmp_path / "e.parquet")


def test_picture_folder_is_read_in_order_and_differing_sizes_are_named(tmp_path):
    for name, side in (("b.png", 10), ("a/z.jpg", 10), ("c.png", 12)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RNG.integers(256, size=(side, side, 3), dtype=np.uint8)).save(
            tmp_path / name
        )
    (tmp_path / "notes.txt").write_text("no picture")
    assert load(tmp_path, limit=2).ids == ["a/z.jpg", "b.png"]
    with pytest.raises(ValueError, match=r"z\.jpg is 10x10.*c\.png is 12x12.*size="):
        load(tmp_path)
    found = load(tmp_path, size=(6, 4), channels=1)
    assert found.shape == (1, 6, 4)
    assert load(tmp_path / "b.png").shape == (3, 10, 10)


def test_picture_folder_with_splits(tmp_path):
    for split, level in (("train", 0), ("test", 255)):
        (tmp_path / split).mkdir()
        Image.new("L", (8, 8), level).save(tmp_path / split / "x.png")
    assert load(tmp_path, "test").values.unique().tolist() == [255]
    with pytest.raises(ValueError, match=r"no split 'validation'; it has train, test"):
        load(tmp_path, "validation")


def test_grey_is_luminance_and_colour_repeats_grey(tmp_path):
    np.save(
        tmp_path / "x.npy",
        np.array([255, 0, 0], np.uint8).reshape(1, 1, 1, 3) * np.ones((2, 8, 8, 1), np.uint8),
    )
    assert load(tmp_path / "x.npy", channels=1).values.unique().tolist() == [76]  # .299 * 255
    np.save(tmp_path / "y.npy", np.full((2, 8, 8), 9, np.uint8))
    assert load(tmp_path / "y.npy", channels=3).values.tolist() == np.full((2, 3, 8, 8), 9).tolist()
    with pytest.raises(ValueError, match="channels must be 1"):
        load(tmp_path / "y.npy", channels=4)


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 3), (4, 3, 6, 5), (4, 1, 6, 5)])
def test_layouts_of_arrays(tmp_path, shape):
    array = RNG.integers(256, size=shape, dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=array, other=np.zeros(3))
    expected = array[:, None] if array.ndim == 3 else array
    expected = expected.transpose(0, 3, 1, 2) if shape[-1] == 3 else expected
    found = load(tmp_path / "x.npz")
    assert found.values.numpy().tolist() == expected.tolist()
    assert found.ids[0] == "x/0"


def test_float_arrays_are_taken_as_they_are_and_checked(tmp_path):
    array = RNG.normal(size=(4, 7))
    np.save(tmp_path / "x.npy", array)
    found = load(tmp_path / "x.npy", limit=3)
    assert not found.quantised and found.shape == (7,)
    assert torch.equal(found.tensor(), torch.tensor(array[:3]))
    with pytest.raises(ValueError, match="size and channels are for uint8"):
        load(tmp_path / "x.npy", size=3)
    array[2, 1] = np.nan
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=r"x/2 \(row 2\)"):
        load(tmp_path / "x.npy")


def test_bad_arrays(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickled objects"):
        load(tmp_path / "o.npy")
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="it has a, b"):
        load(tmp_path / "two.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut\.npz is damaged"):
        load(tmp_path / "cut.npz")
    np.save(tmp_path / "int.npy", np.zeros((2, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="values of int64"):
        load(tmp_path / "int.npy")
    np.save(tmp_path / "both.npy", np.zeros((2, 3, 8, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="just one"):
        load(tmp_path / "both.npy")
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match="empty"):
        load(tmp_path / "none.npy")


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"size": 0}, ValueError, "size must be at least 1, not 0"),
        ({"size": (8, -8)}, ValueError, "size must be at least 1, not -8"),
        ({"size": (8,)}, TypeError, r"a side, or \(height, width\)"),
        ({"size": 8.5}, TypeError, "size must be a whole number"),
        ({"channels": 2}, ValueError, "1 .grey. or 3"),
    ],
)
def test_what_no_picture_can_be_brought_to_is_refused_unread(asked, kind, said, monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", None)  # would end in a TypeError of its own
    with pytest.raises(kind, match=said):
        load("nobodys_set", **asked)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".ckpt", ".bin"])
def test_pickles_are_refused_unread(tmp_path, suffix):
    with pytest.raises(ValueError, match="pickle"):
        load(tmp_path / f"x{suffix}")


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "empty name"), ("n" * 300, "300 characters, too long"), ("a\0b.npy", "NUL character")],
    ids=["empty", "long", "NUL"],
)
def test_a_name_that_no_file_can_have(name, said):
    with pytest.raises(ValueError, match=said):
        load(name)


def test_nothing_there(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no"):
        load(tmp_path / "absent.npy")
    with pytest.raises(ValueError, match="neither parquet files nor pictures"):
        load(tmp_path)
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match="is empty"):
        load(tmp_path / "empty.npy")
    (tmp_path / "x.doc").write_text("?")
    with pytest.raises(ValueError, match="no known kind"):
        load(tmp_path / "x.doc")
    with pytest.raises(ValueError, match="limit"):
        load("digits", limit=0)

    def unreachable(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(FileNotFoundError, match=r"nobodys_set is no path.*no route"):
        load("nobodys_set")


def test_hub_sets_are_read_without_remote_code(monkeypatch):
    import datasets

    asked = {}

    def fake(name, configuration, **kwargs):
        asked.update(kwargs, name=name, configuration=configuration)
        pictures = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(3)]
        return datasets.Dataset.from_dict({"img": pictures, "label": [0, 1, 2]}).cast_column(
            "img", datasets.Image()
        )

    monkeypatch.setattr("datasets.load_dataset", fake)
    found = load("some/set", "train", limit=2)
    assert asked == {"name": "some/set", "configuration": None, "split": "train"}
    assert found.values[:, 0, 0, 0].tolist() == [0, 1] and found.ids[1] == "some/set/1"
    load("some/set:cropped", "test")
    assert asked == {"name": "some/set", "configuration": "cropped", "split": "test"}


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({"bytes": b"no picture", "path": None}, "is damaged or no picture; repair"),
        ({"bytes": None, "path": "nowhere.png"}, "is damaged or no picture .nowhere.png.; repair"),
        (None, "holds no picture"),
    ],
)
def test_a_damaged_picture_of_the_hub_is_named(cell, said, monkeypatch):
    import datasets

    cells = [{"bytes": png(np.zeros((8, 8), np.uint8)), "path": None}, cell]
    table = datasets.Dataset.from_dict({"img": cells}).cast_column("img", datasets.Image())
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: table)
    with pytest.raises(ValueError, match=f"set/1, column 'img' {said}") as caught:
        load("some/set")
    assert "0x" not in str(caught.value)
    assert len(load("some/set", limit=1)) == 1


def test_numbers_of_the_hub_under_the_name_of_pictures_are_refused_with_the_remedy(monkeypatch):
    import datasets

    kinds = datasets.Features({"image": datasets.Array3D((8, 8, 3), "uint8")})
    table = datasets.Dataset.from_dict({"image": [np.zeros((8, 8, 3), np.uint8)]}, features=kinds)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: table)
    with pytest.raises(ValueError, match=r"Array3D.* in column 'image'.*pass the data set itself"):
        load("some/set")


def test_the_mode_that_a_column_of_the_hub_states_is_kept(monkeypatch):
    import datasets

    cells = [{"bytes": png(np.full((8, 8), 9, np.uint8)), "path": None}]
    kinds = datasets.Features({"image": datasets.Image(mode="RGB")})
    table = datasets.Dataset.from_dict({"image": cells}, features=kinds)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: table)
    assert load("some/set").shape == (3, 8, 8)


@pytest.mark.parametrize("name", ["digits", "patches", "letters"])
def test_bundled_sets_are_fixed_eight_bit_and_split_without_overlap(name):
    train, test = load(name, "train"), load(name, "test")
    assert train.shape == test.shape == (1, 8, 8) and train.quantised
    assert len(train) >= 1000 and len(test) >= 500
    assert (load(name, "train").values == train.values).all()
    assert not set(train.ids) & set(test.ids)
    assert train.values.float().std() > 20  # levels: something is on the pictures
    with pytest.raises(ValueError, match="it has train, test"):
        load(name, "validation")


def test_bundled_digits_are_on_sixteen_steps_and_each_used_once():
    from sklearn.datasets import load_digits

    levels = torch.cat([load("digits", s).values for s in ("train", "test")]).flatten(1)
    expected = np.round(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(levels.tolist()) == sorted(expected.tolist())


def test_samples_items_selection_and_scale():
    values = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2) * 10
    samples = Samples(values, name="s")
    item = samples[2]
    assert item["id"] == "s/2"
    torch.testing.assert_close(item["x"], values[2].float() / 255, rtol=0, atol=0)
    assert samples.select([4, 1]).ids == ["s/4", "s/1"]
    assert (samples.select([4, 1]).tensor() == samples.tensor([4, 1])).all()
    assert len(list(samples)) == 6
    with pytest.raises(ValueError, match="6 samples but 1 ids"):
        Samples(values, ["a"])
    with pytest.raises(TypeError, match="int64"):
        Samples(values.long())


@pytest.mark.skipif("FIMETRIC_DATA" not in os.environ, reason="FIMETRIC_DATA is not set")
@pytest.mark.parametrize(
    ("name", "shape"), [("fashion_mnist", (1, 32, 32)), ("cifar10", (3, 32, 32))]
)
def test_real_sets(name, shape):
    found = load(name, "test", limit=20)
    assert len(found) == 20 and found.shape == shape and len(set(found.ids)) == 20


def test_an_array_of_an_archive_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", p=np.zeros((2, 3)), q=np.ones((4, 5)))
    assert load(tmp_path / "a.npz", column="q").shape == (5,)
    with pytest.raises(ValueError, match=r"a\.npz has no array 'r'; it has p, q"):
        load(tmp_path / "a.npz", column="r")
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"column='q' does not concern .*one array"):
        load(tmp_path / "a.npy", column="q")
    with pytest.raises(TypeError, match="column must be the name of a column, not 3"):
        load(tmp_path / "a.npz", column=3)
