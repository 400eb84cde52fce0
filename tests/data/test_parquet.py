"""Parquet files: the layouts of the hub, and reading no more than is asked for."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fimetric.data import batches, load, parquet
from fimetric.data.asked import Asked


def png(level: int, side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("L", (side, side), level).save(out, "PNG")
    return out.getvalue()


def write(path: Path, levels: range, **columns: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png(level), "path": None} for level in levels]
    pq.write_table(pa.table({"image": cells, **columns}), path)


def levels(source: Path, split: str = "train", **kwargs) -> list[int]:
    return load(source, split, **kwargs).values[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    "shards",
    [
        ["data/train-00000-of-00002", "data/train-00001-of-00002", "data/test-00000-of-00001"],
        ["train-00000-of-00002-0123abcd", "train-00001-of-00002-89ef", "test-00000-of-00001-7"],
        ["plain/train-0", "plain/train-1", "plain/test-0"],
        ["default/train/0000", "default/train/0001", "default/test/0000"],
        ["train/9", "train/10", "test/0"],
        ["Training_2", "Training_10", "test"],
    ],
)
def test_shards_of_the_hub_are_one_set_in_their_order(shards, tmp_path):
    for i, shard in enumerate(shards):
        write(tmp_path / f"{shard}.parquet", range(3 * i, 3 * i + 3))
    (tmp_path / "README.md").write_text("a card", encoding="utf-8")
    assert levels(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert levels(tmp_path, "test") == [6, 7, 8]
    assert levels(tmp_path, limit=4) == [0, 1, 2, 3]
    assert load(tmp_path, "train").ids == [f"{tmp_path.name}/{i}" for i in range(6)]
    with pytest.raises(ValueError, match="no split 'validation'; it has train, test"):
        load(tmp_path, "validation")


def test_ten_shards_are_in_natural_order(tmp_path):
    for i in range(12):
        write(tmp_path / f"data/train-{i}-of-12.parquet", range(i, i + 1))
    assert levels(tmp_path) == list(range(12))


def test_a_missing_shard_and_two_versions_are_refused(tmp_path):
    write(tmp_path / "a/data/train-00000-of-00003.parquet", range(2))
    write(tmp_path / "a/data/train-00002-of-00003.parquet", range(2))
    with pytest.raises(ValueError, match=r"lacks 1 of the 3 files .* number 1"):
        load(tmp_path / "a", "train")
    for name in ("train", "train-00000-of-00001"):
        write(tmp_path / f"b/{name}.parquet", range(2))
    with pytest.raises(ValueError, match="several versions of the split 'train'"):
        load(tmp_path / "b", "train")


def test_several_configurations_are_named(tmp_path):
    for name in ("small", "large"):
        write(tmp_path / f"{name}/train-00000-of-00001.parquet", range(2))
    with pytest.raises(ValueError, match=r"several configurations; .*large, small"):
        load(tmp_path, "train")
    assert levels(tmp_path / "small") == [0, 1]


def test_a_table_below_a_folder_of_pictures_does_not_hide_them(tmp_path):
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name)
    pq.write_table(pa.table({"y": [1]}), tmp_path / "a/features.parquet")
    pq.write_table(pa.table({"file_name": ["a/1.png"]}), tmp_path / "metadata.parquet")
    assert load(tmp_path).ids == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize("name", ["data/foo", "plain/part-1", "a/b/train"])
def test_tables_of_no_split_are_named(name, tmp_path):
    write(tmp_path / f"{name}.parquet", range(2))
    said = rf"parquet files of no split by name and place: {name}\.parquet; call them data/train-"
    with pytest.raises(ValueError, match=said):
        load(tmp_path, "train")
    assert levels(tmp_path / f"{name}.parquet") == [0, 1]  # as the message says


def test_a_damaged_shard_is_named_unless_the_limit_comes_before(tmp_path):
    write(tmp_path / "train-0.parquet", range(3))
    (tmp_path / "train-1.parquet").write_bytes(b"PAR1 and nothing else")
    assert levels(tmp_path, limit=3) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"train-1\.parquet is damaged"):
        load(tmp_path, "train")


def test_no_row_after_the_limit_is_read(tmp_path):
    cells = [{"bytes": png(i), "path": None} for i in range(parquet.ROWS)]
    pq.write_table(
        pa.table({"image": [*cells, {"bytes": b"damaged", "path": None}]}), tmp_path / "x.parquet"
    )
    assert len(load(tmp_path / "x.parquet", limit=parquet.ROWS)) == parquet.ROWS
    with pytest.raises(
        ValueError, match=f"row {parquet.ROWS}, column 'image' is damaged or no picture;"
    ):
        load(tmp_path / "x.parquet")


def test_a_column_that_unpacks_to_a_multiple_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MOST_UNPACKED", 2**20)
    path = tmp_path / "bomb.parquet"
    pq.write_table(
        pa.table({"image": [bytes(2**18) + bytes([i]) for i in range(20)], "other": [0] * 20}),
        path,
        compression="zstd",
    )
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)  # would end in a TypeError
    with pytest.raises(ValueError, match=r"bomb\.parquet: \d+ bytes of column 'image' unpack to 5"):
        load(path)


def test_a_column_beside_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MOST_UNPACKED", 2**10)
    write(tmp_path / "x.parquet", range(2), other=[bytes(2**20)] * 2)
    assert levels(tmp_path / "x.parquet") == [0, 1]


def test_repeated_cells_do_not_unpack_all_at_once(tmp_path, monkeypatch):
    """100 rows of one cell of 250 kB are stored once, and are 25 MB when read together."""
    monkeypatch.setattr(parquet, "MOST_UNPACKED", 2**20)
    path, cell = tmp_path / "same.parquet", np.random.default_rng(0).bytes(250_000)
    pq.write_table(pa.table({"image": [cell] * 100}), path)
    assert path.stat().st_size < 10**6
    before = pa.total_allocated_bytes()
    rows = parquet._of_parts(parquet._parts([path], Asked()))
    used = [pa.total_allocated_bytes() - before for _ in rows]
    assert len(used) == 100 and max(used) < 5 * 10**6


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": [b"x"], "img": [b"x"]}, "it has image, img"),
        ({"picture": [b"x"], "label": [0]}, "no column 'image'; it has picture, label"),
        ({"image": [None]}, "holds no bytes"),
        ({"image": [{"bytes": None, "path": "a.png"}]}, "holds no bytes"),
        ({"image": ["text"]}, "holds no bytes"),
        ({"image": [[[0, 1], [2, 3]]]}, "row 0, column 'image' holds no bytes.*load_dataset"),
    ],
)
def test_columns_that_are_no_pictures(columns, said, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=said):
        load(tmp_path / "x.parquet")


def test_labels_and_prompts_stand_beside_pictures(tmp_path):
    write(tmp_path / "x.parquet", range(3), label=[5, 6, 7], prompt=["a", "b", "c"], other=[0] * 3)
    found = load(tmp_path / "x.parquet", limit=2)
    assert found.kept == {"label": [5, 6], "prompt": ["a", "b"]}
    assert found[1]["label"] == 6 and found.select([1]).kept["prompt"] == ["b"]
    [batch] = batches(found, 4)
    assert batch.kept == found.kept


def test_one_of_several_columns_of_pictures_is_named(tmp_path):
    cells = [[{"bytes": png(10 * j + i), "path": None} for i in range(2)] for j in range(2)]
    pq.write_table(pa.table({"left": cells[0], "right": cells[1]}), tmp_path / "x.parquet")
    assert levels(tmp_path / "x.parquet", column="right") == [10, 11]
    with pytest.raises(ValueError, match="no column 'image'; it has left, right"):
        load(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="no column 'middle'; it has left, right"):
        load(tmp_path / "x.parquet", column="middle")
    with pytest.raises(ValueError, match="rate=8 does not concern x, which holds pictures"):
        load(tmp_path / "x.parquet", column="left", rate=8)
