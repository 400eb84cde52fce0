"""Folders of pictures: their order, their splits, and what is no picture of theirs."""

import json
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from fimetric.data import load


def draw(*files: Path) -> None:
    """Write pictures of one level each, 0, 1, 2, ..."""
    for i, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(file)


def test_frames_are_in_natural_order_across_folders(tmp_path):
    names = [f"shot{s}/frame{f}.png" for s in (1, 2, 10) for f in (1, 2, 9, 10, 100)]
    names += ["v.png", "v1.png", "v01b.png"]
    draw(*(tmp_path / name for name in names))
    assert load(tmp_path).values[:, 0, 0, 0].tolist()[:15] == list(range(15))
    assert load(tmp_path).ids[15] == "v.png"
    assert load(tmp_path, limit=2).ids == names[:2]


def test_hidden_folders_at_any_depth_are_left_out(tmp_path):
    hidden = [".thumbnails/a.png", "c/.ipynb_checkpoints/b.png", "c/.git/d/e.png", ".f.png"]
    draw(tmp_path / "c/1.png", tmp_path / "2.png", *(tmp_path / name for name in hidden))
    assert load(tmp_path).ids == ["2.png", "c/1.png"]


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path):
    draw(tmp_path / ".cache/1.png")
    assert load(tmp_path / ".cache").ids == ["1.png"]


LAYOUTS = {  # files -> those of train, and whether pictures are said to be left out
    "class": (["bus/0", "car/0", "train/0"], ["bus/0", "car/0", "train/0"], False),
    "alone": (["train/0", "train/1"], ["train/0", "train/1"], False),
    "classes inside": (["train/a/0", "train/b/0"], ["train/a/0", "train/b/0"], False),
    "with test": (["train/0", "test/0"], ["train/0"], False),
    "with val": (["train/0", "val/0"], ["train/0"], False),
    "capitals": (["Training/0", "Testing/0"], ["Training/0"], False),
    "classes beside": (["train/a/0", "extra/0", "more/1"], ["train/a/0"], True),
    "pictures beside": (["0", "train/0", "test/0"], ["train/0"], True),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_which_folders_are_splits(name, tmp_path, caplog):
    files, train, left = LAYOUTS[name]
    draw(*(tmp_path / f"{file}.png" for file in files))
    assert load(tmp_path, "train").ids == [f"{file}.png" for file in train]
    assert ("pictures of" in caplog.text and "left out" in caplog.text) == left
    if left:
        assert f"{len(files) - 1 if 'classes' in name else 1} pictures" in caplog.text
    if name == "class":
        assert "train/" in caplog.text and "taken for a class" in caplog.text
        assert load(tmp_path, "test").ids == load(tmp_path, "train").ids


def test_synonyms_of_splits(tmp_path):
    draw(tmp_path / "Training/0.png", tmp_path / "val/0.png")
    assert load(tmp_path, "validation").ids == load(tmp_path, "val").ids == ["val/0.png"]
    with pytest.raises(ValueError, match="no split 'test'; it has train, validation"):
        load(tmp_path, "test")


def test_files_that_are_not_read_are_counted_once(tmp_path, caplog):
    draw(tmp_path / "a/1.png", tmp_path / "2.png")
    for name in ("1.heic", "a/2.heic", "labels.csv", "README"):
        (tmp_path / name).write_bytes(b"?")
    load(tmp_path)
    [said] = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert said.startswith("4 files") and ".heic: 2" in said and ".csv: 1" in said


def test_kinds_beyond_the_fifth_are_counted(tmp_path, caplog):
    draw(tmp_path / "1.png")
    for i in range(7):
        (tmp_path / f"a.k{i}").touch()
    (tmp_path / "b.k6").touch()
    load(tmp_path)
    assert "(.k6: 2, .k0: 1, .k1: 1, .k2: 1, .k3: 1 and 2 more kinds)" in caplog.text


def test_pipes_sockets_and_broken_links_are_never_opened(tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    draw(Path("1.png"))
    os.mkfifo("2.png")
    Path("3.png").symlink_to("nowhere.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("4.png")
        assert load(tmp_path).ids == ["1.png"]
    assert "pipes, devices or broken links: 3" in caplog.text
    for name in ("2.png", "2.parquet", "2.npy"):
        if not Path(name).exists():
            os.mkfifo(name)
        with pytest.raises(ValueError, match="is a pipe or device"):
            load(name)
    assert load(tmp_path).ids == ["1.png"]  # the pipe of parquet is no table


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path):
    draw(tmp_path / "elsewhere/1.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/class").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "set")
    assert load(tmp_path / "set").ids == ["class/1.png"]


def test_odd_bytes_in_names_become_ids_that_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9\n.png")
    draw(tmp_path / name, tmp_path / "\u65e5\u672c \u00e9.png")
    found = load(tmp_path).ids
    assert found == ["caf\\xe9\\x0a.png", "\u65e5\u672c \u00e9.png"]
    assert json.loads(json.dumps(found).encode("utf-8")) == found
    (tmp_path / name).write_bytes(b"damaged")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(ValueError, match="is damaged") as caught:
            load(place)
        assert r"caf\xe9" in str(caught.value).encode("utf-8").decode()


def test_an_empty_split_is_no_split_to_read(tmp_path):
    (tmp_path / "train").mkdir()
    draw(tmp_path / "test/1.png")
    with pytest.raises(ValueError, match="nor pictures"):
        load(tmp_path, "train")
