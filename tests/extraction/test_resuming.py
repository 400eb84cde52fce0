"""Extraction into a folder: whole or not at all, resumed to the bit, never mixed up."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.killing import after_kills, content
from torch import nn

from fimetric import Features, extract
from fimetric.extraction import parts, reference
from fimetric.features.table import PROVENANCE
from fimetric.objectives import Objective

N, D = 22, 6
# the first entry tells the samples apart
X = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
X[:, 0] = torch.arange(N)
FILES = ["data.sha256", "features.json", "features.safetensors"]


class Watched(Objective):
    """Reconstruction that notes which samples it has seen, and stops when told to."""

    def __init__(self, seed: int = 0, width: int = 8, noise: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Linear(D, width), nn.Tanh(), nn.Linear(width, D))
        super().__init__(self._losses, model, noise)
        self.seen: list[int] = []  # public, and changed by every forward pass
        self._stop_at: int | None = None
        self.width = width

    def settings(self):
        return {"width": self.width}

    def _losses(self, x):
        self.seen += [int(i) for i in x[:, 0] if i == i.round()]  # made-up rows have no number
        if self._stop_at in self.seen:
            raise KeyboardInterrupt
        return (self.module(x) - x).square().sum(1)


def stopping(after: int, size: int = 4):
    """Yield some batches and be interrupted."""
    yield from X[: after * size].split(size)
    raise KeyboardInterrupt


def assert_seen(objective: Watched, first: int) -> None:
    """Assert that the rest was computed, and of what was done the reference of the bounds alone."""
    done = set(objective.seen) & set(range(first))
    assert set(objective.seen) - done == set(range(first, N))
    assert len(done) <= reference.ROWS


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same(a: Features, b: Features) -> None:
    for name in ("values", "losses", "bounds", "numels", "dimensions"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name in ("names", "views", "ids", "probe", *PROVENANCE):
        assert getattr(a, name) == getattr(b, name), name


@pytest.fixture(params=[0.0, 1e9], ids=["a part per batch", "one part at the end"])
def part_seconds(request, monkeypatch) -> float:
    monkeypatch.setattr(parts, "PART_SECONDS", request.param)
    return request.param


@pytest.fixture
def small_parts(monkeypatch) -> None:
    monkeypatch.setattr(parts, "PART_SECONDS", 0.0)


@pytest.fixture
def interrupted(tmp_path, small_parts) -> Path:
    """Return the folder of an extraction that stopped after 3 of 6 batches."""
    with pytest.raises(KeyboardInterrupt):
        extract(Watched(), stopping(3), 4, folder=tmp_path / "f")
    return tmp_path / "f"


def test_folder_is_written_whole_and_nothing_beside_it(tmp_path, part_seconds):
    features = extract(Watched(), X, 4, folder=tmp_path / "a" / "f")
    assert_same(features, extract(Watched(), X, 4))
    assert_same(Features.load(tmp_path / "a" / "f"), features)
    assert names(tmp_path / "a") == ["f"]
    assert names(tmp_path / "a" / "f") == FILES


@pytest.mark.parametrize("group_size", [1, 2])
@pytest.mark.parametrize("where", ["data", "model"])
def test_interrupted_extraction_goes_on_to_the_same_bits(tmp_path, part_seconds, where, group_size):
    first = Watched()
    if where == "model":
        first._stop_at = 13  # in the fourth batch
    data = stopping(3) if where == "data" else X
    with pytest.raises(KeyboardInterrupt):
        extract(first, data, 4, group_size, tmp_path / "f")
    number = 3 if part_seconds == 0 else 1
    assert names(tmp_path) == ["f.parts"]
    assert names(tmp_path / "f.parts") == [f"{i:05d}" for i in range(number)]
    assert names(tmp_path / "f.parts" / "00000") == FILES

    again = Watched()
    features = extract(again, X, 4, group_size, tmp_path / "f")
    assert_seen(again, 12)  # 0 to 11 were done
    assert_same(features, extract(Watched(), X, 4, group_size))
    assert names(tmp_path) == ["f"]


def test_interrupted_twice(tmp_path, part_seconds):
    for batches in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            extract(Watched(), stopping(batches), 4, folder=tmp_path / "f")
    again = Watched()
    assert_same(extract(again, X, 4, folder=tmp_path / "f"), extract(Watched(), X, 4))
    assert_seen(again, 16)


def test_killed_at_any_point_of_its_writing(tmp_path, small_parts):
    def call(folder):
        extract(Watched(), X[:6], 3, folder=folder / "f", progress=False)

    call(tmp_path / "whole")
    expected = content(tmp_path / "whole")
    assert set(expected) == {"f", *(f"f/{name}" for name in FILES)}
    folders = after_kills(call, tmp_path)
    assert len(folders) > 20
    for folder in folders:
        assert content(folder) == expected, folder.name


@pytest.mark.parametrize("file", FILES)
def test_killed_while_a_part_is_written(interrupted, file):
    """What a process leaves that cannot clean up: a folder under its temporary name."""
    last = interrupted.with_name("f.parts") / "00002"
    last.rename(last.with_name(".00002.abc"))
    (last.with_name(".00002.abc") / file).write_bytes(b"")
    again = Watched()
    assert_same(extract(again, X, 4, folder=interrupted), extract(Watched(), X, 4))
    assert_seen(again, 8)
    assert names(interrupted.parent) == ["f"]


@pytest.mark.parametrize("file", ["features.safetensors", "data.sha256"])
def test_failure_while_writing_leaves_nothing_half_written(tmp_path, monkeypatch, file):
    write = Path.write_bytes if file == "features.safetensors" else Path.write_text

    def full(path, content, *args, **kwargs):
        if path.name == file:
            write(path, content[: len(content) // 2])
            raise OSError("disk full")
        return write(path, content, *args, **kwargs)

    monkeypatch.setattr(Path, write.__name__, full)
    with pytest.raises(OSError, match="disk full"):
        extract(Watched(), X, 4, folder=tmp_path / "f")
    monkeypatch.undo()
    assert list(tmp_path.rglob("*.*")) in ([], [tmp_path / "f.parts"])
    assert_same(extract(Watched(), X, 4, folder=tmp_path / "f"), extract(Watched(), X, 4))


def test_complete_folder_is_returned_without_the_model(tmp_path):
    features = extract(Watched(), X, 4, folder=tmp_path / "f")
    again = Watched()
    assert_same(extract(again, X, 4, folder=tmp_path / "f"), features)
    assert again.seen == []


def test_complete_folder_grows_with_the_data(tmp_path, small_parts):
    extract(Watched(), X[:12], 4, folder=tmp_path / "f")
    with pytest.raises(KeyboardInterrupt):
        extract(Watched(), stopping(4), 4, folder=tmp_path / "f")
    again = Watched()
    features = extract(again, X, 4, folder=tmp_path / "f")
    assert_same(features, extract(Watched(), X, 4))
    assert_same(Features.load(tmp_path / "f"), features)
    assert_seen(again, 12)
    assert names(tmp_path) == ["f"]


OTHERS = {
    "other data": (lambda: (Watched(), X + 1, 4, 1), "made from other data"),
    "other order": (lambda: (Watched(), X.flip(0), 4, 1), "made from other data"),
    "other ids": (lambda: (Watched(), {"x": X, "id": range(1, N + 1)}, 4, 1), "other data"),
    "other format": (lambda: (Watched(), X.double(), 4, 1), "other data"),
    "other weights": (lambda: (Watched(seed=1), X, 4, 1), "another model"),
    "other width": (lambda: (Watched(width=9), X, 4, 1), "another objective"),
    "other seed": (lambda: (Watched(noise=1), X, 4, 1), "another seed"),
    "other group size": (lambda: (Watched(), X, 4, 2), "another group size"),
    "fewer data": (lambda: (Watched(), X[:8], 4, 1), "made from more data"),
}


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("change", OTHERS)
def test_anything_else_than_what_the_folder_holds_is_refused(
    interrupted, small_parts, change, complete
):
    if complete:
        extract(Watched(), X, 4, folder=interrupted)
    make, message = OTHERS[change]
    objective, data, batch_size, group_size = make()
    with pytest.raises(ValueError, match=message) as error:
        extract(objective, data, batch_size, group_size, interrupted)
    assert str(interrupted) in str(error.value) and "another folder" in str(error.value)
    # and nothing was spoiled
    assert_same(extract(Watched(), X, 4, folder=interrupted), extract(Watched(), X, 4))


@pytest.mark.parametrize("size", [2, 100])
def test_batches_of_another_size_go_on_where_they_end_with_the_parts(interrupted, size):
    again = Watched()
    if size == 100:
        with pytest.raises(ValueError, match="another batch size"):
            extract(again, X, size, folder=interrupted)
        extract(Watched(), X, 4, folder=interrupted)  # whole now, so any size ends with it
    found, whole = extract(again, X, size, folder=interrupted), extract(Watched(), X, 4)
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-5, atol=1e-5)
    assert found.ids == whole.ids
    if size == 2:
        assert_seen(again, 12)
    else:
        assert again.seen == []


def test_another_objective_is_refused(interrupted):
    class Other(Watched):
        pass

    with pytest.raises(ValueError, match="another objective"):
        extract(Other(), X, 4, folder=interrupted)


@pytest.mark.parametrize("file", ["features.safetensors", "features.json"])
def test_truncated_part_is_refused(interrupted, file):
    path = interrupted.with_name("f.parts") / "00001" / file
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=f"00001/{file} is damaged"):
        extract(Watched(), X, 4, folder=interrupted)


@pytest.mark.parametrize("complete", [True, False])
def test_a_flipped_bit_of_a_digest_is_no_other_data(tmp_path, interrupted, complete):
    folder = tmp_path / "whole" if complete else interrupted
    if complete:
        extract(Watched(), X, 4, folder=folder)
    path = (folder if complete else folder.with_name("f.parts") / "00001") / "data.sha256"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=rf"{path} is damaged \(its checksum .* delete it and"):
            extract(Watched(), X, 4, folder=folder)


def test_missing_part_is_refused(interrupted):
    place = interrupted.with_name("f.parts") / "00001"
    place.rename(interrupted.with_name("elsewhere"))
    with pytest.raises(ValueError, match="other data"):
        extract(Watched(), X, 4, folder=interrupted)


def test_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "diary.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="choose another"):
        extract(Watched(), X, 4, folder=tmp_path / "f")
    assert names(tmp_path / "f") == ["diary.txt"]


def test_failure_of_the_model_keeps_what_is_done(tmp_path, part_seconds):
    """An error midway, too, costs no more than the batch it struck."""
    objective = Watched()
    strange = X.clone()
    strange[14, 3] = torch.nan
    with pytest.raises(ValueError, match="sample 14"):
        extract(objective, list(strange.split(4)), 4, folder=tmp_path / "f")
    again = Watched()
    assert_same(extract(again, X, 4, folder=tmp_path / "f"), extract(Watched(), X, 4))
    assert_seen(again, 12)
