"""Whatever data are handed in, the same samples come out, in order and in whole groups."""

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from fimetric.data import Batch, Samples, batches, length

N = 11
X = torch.randn(N, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class Items(Dataset):
    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> dict:
        return {"x": X[i], "id": f"s{i}", "label": i}


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(X)


def hugging_face() -> object:
    import datasets

    rows = {"x": X.tolist(), "label": list(range(N))}
    return datasets.Dataset.from_dict(rows).with_format("torch")


SOURCES = {
    "tensor": (lambda: X, N),
    "array": (lambda: X.numpy(), N),
    "pair": (lambda: (X, torch.zeros(N)), N),
    "dictionary": (lambda: {"x": X, "labels": torch.zeros(N)}, N),
    "dataset": (Items, N),
    "pairs": (lambda: TensorDataset(X, torch.zeros(N)), N),
    "stream": (Stream, None),
    "loader": (lambda: DataLoader(Items(), batch_size=4), N),
    "loader of pairs": (lambda: DataLoader(TensorDataset(X, X), batch_size=3), N),
    "list of batches": (lambda: [X[:5], X[5:6], X[6:]], None),
    "generator": (lambda: ({"x": part} for part in X.split(2)), None),
    "hugging face": (hugging_face, N),
    "hugging face stream": (lambda: hugging_face().to_iterable_dataset(), None),
    "samples": (lambda: Samples(X), N),
}


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
@pytest.mark.parametrize("name", SOURCES)
def test_all_kinds_of_data_give_the_same_samples(name, batch_size):
    make, known = SOURCES[name]
    found = list(batches(make(), batch_size))
    assert all(len(batch) == batch_size for batch in found[:-1])
    assert torch.equal(torch.cat([batch.x for batch in found]), X)
    assert len({i for batch in found for i in batch.ids}) == N
    assert length(make()) == known


def test_ids():
    assert [i for b in batches(Items(), 3) for i in b.ids] == [f"s{i}" for i in range(N)]
    assert [i for b in batches(DataLoader(Items(), 4), 3) for i in b.ids][-1] == "s10"
    assert [i for b in batches(X, 3) for i in b.ids] == [str(i) for i in range(N)]
    paths = {"x": X, "path": [f"{i}.png" for i in range(N)]}
    assert next(batches(paths, 2)).ids == ["0.png", "1.png"]
    assert next(batches({"x": X, "id": torch.arange(N) + 5}, 2)).ids == ["5", "6"]


@pytest.mark.parametrize("chunk", [1, 2, 5, 11])
def test_groups_stay_whole_and_the_rest_is_cut_with_a_log_line(chunk, caplog):
    with caplog.at_level(logging.WARNING):
        found = list(batches(iter(X.split(chunk)), batch_size=8, group_size=3))
    assert [len(batch) for batch in found] == [6, 3]  # 8 is rounded down to 6
    assert torch.equal(torch.cat([batch.x for batch in found]), X[:9])
    assert "the last 2 of 11" in caplog.text
    assert [len(b) for b in batches(X[:8], batch_size=2, group_size=4)] == [4, 4]


def test_dictionaries_keep_their_columns():
    data = {"input_ids": torch.arange(N * 5).reshape(N, 5), "attention_mask": torch.ones(N, 5)}
    first, *_ = list(batches({**data, "label": list(range(N))}, 4))
    assert set(first.x) == {"input_ids", "attention_mask"}
    assert first.x["input_ids"].dtype == torch.int64
    assert torch.equal(first.x["input_ids"], data["input_ids"][:4])
    alone = next(batches({"input_ids": data["input_ids"]}, 4))
    assert set(alone.x) == {"input_ids"}  # an argument of the model


@pytest.mark.parametrize("key", ["data", "foo", "sample", "img", "features"])
def test_the_only_entry_is_the_data_whatever_its_name(key):
    labelled = {"label": torch.zeros(N), key: X, "id": range(N)}
    for data in ({key: X}, labelled, iter([{key: X}]), [{key: x} for x in X]):
        found = list(batches(data, 4))
        assert torch.equal(torch.cat([batch.x for batch in found]), X)


@pytest.mark.parametrize("key", ["pixel_values", "input_ids", "input_values", "attention_mask"])
def test_an_argument_of_a_model_stays_one(key):
    assert set(next(batches({key: torch.ones(N, 5)}, 4)).x) == {key}


def test_eight_bit_images_become_floats_channels_first():
    pixels = np.random.default_rng(0).integers(256, size=(6, 5, 4, 3), dtype=np.uint8)
    expected = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255
    items = [Image.fromarray(p) for p in pixels]
    assert torch.equal(next(batches(pixels, 6)).x, expected)
    assert torch.equal(next(batches(items, 6)).x, expected)
    assert torch.equal(next(batches(TensorDataset(torch.from_numpy(pixels)), 6)).x, expected)


LABELLED = {
    "dictionary": lambda: {"x": X, "label": range(N)},
    "samples": Items,
    "batches": lambda: DataLoader(Items(), batch_size=2),
    "table": lambda: pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4], "label": [0, 1]}),
    "hugging face": hugging_face,
}


@pytest.mark.parametrize("make", LABELLED.values(), ids=LABELLED)
def test_labels_are_kept_beside_the_data_and_told_once(make, caplog):
    with caplog.at_level(logging.INFO):
        found = list(batches(make(), 2))
    assert [r.getMessage() for r in caplog.records if "label" in r.getMessage()] == [
        "kept beside the data, no loss gets it: label"
    ]
    assert all(isinstance(batch.x, torch.Tensor) for batch in found)
    labels = [int(y) for batch in found for y in batch.kept["label"]]
    assert labels == list(range(sum(map(len, found))))


def test_nothing_is_said_of_labels_where_there_are_none(caplog):
    with caplog.at_level(logging.INFO):
        list(batches({"x": X, "id": range(N)}, 2))
    assert "label" not in caplog.text


def test_streams_are_not_read_ahead():
    read = []

    def source() -> Iterator[torch.Tensor]:
        for part in X.split(1):
            read.append(1)
            yield part

    stream = batches(source(), batch_size=4)
    next(stream)
    assert len(read) == 4


@pytest.mark.parametrize("make", [lambda x: x, lambda x: iter(x.split(2)), TensorDataset])
def test_values_that_are_not_finite_are_named(make):
    bad = X.clone()
    bad[7, 0, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="sample 7 "):
        list(batches(make(bad), 3))
    with pytest.raises(ValueError, match="column 'a': sample 7 "):
        list(batches({"a": bad, "b": X}, 3))


@pytest.mark.parametrize("empty", [[], X[:0], iter(()), {}, {"label": X}])
def test_empty_data(empty):
    with pytest.raises(ValueError, match=r"empty|first dimension"):
        list(batches(empty, 2))


def test_fewer_samples_than_a_group():
    with pytest.raises(ValueError, match="2 samples, not one whole group of 3"):
        list(batches(X[:2], 4, group_size=3))


def test_bad_calls():
    with pytest.raises(ValueError, match="at least 1"):
        batches(X, 0)
    with pytest.raises(TypeError, match=r"fimetric\.data\.load"):
        list(batches("digits", 2))
    with pytest.raises(TypeError, match="int is no data"):
        list(batches(3, 2))
    with pytest.raises(ValueError, match="first dimension"):
        list(batches([{"a": X, "b": X[:3]}], 2))
    with pytest.raises(ValueError, match="11 samples but 1 ids"):
        list(batches([{"x": X, "id": ["a"]}], 2))
    with pytest.raises(ValueError, match="samples differ: 0 is"):
        list(batches([X, X[:, :, :2]], 20))
    with pytest.raises(TypeError, match=r"column 'text'.*drop"):
        list(batches([{"x": X, "text": ["a"] * N}], 2))


def test_batches_pass_through():
    batch = Batch(X[:2], ["a", "b"])
    assert next(batches([batch], 2)).ids == ["a", "b"]


def test_tokens_of_another_length_make_a_batch_of_their_own():
    parts = [torch.arange(n * t).reshape(n, t) for n, t in ((3, 4), (2, 4), (4, 7), (1, 4))]
    found = list(batches(iter(parts), 64))
    assert [tuple(batch.x.shape) for batch in found] == [(5, 4), (4, 7), (1, 4)]
    assert [name for batch in found for name in batch.ids] == list(map(str, range(10)))
    assert torch.equal(found[1].x, parts[2])
    with pytest.raises(ValueError, match="bring them to one shape"):  # a group cannot be parted
        list(batches(iter(parts), 64, group_size=2))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [4, None])
def test_a_loader_that_shuffles_is_told_of(shuffle, size, caplog):
    loader = DataLoader(TensorDataset(torch.rand(9, 3)), size, shuffle=shuffle)
    assert sum(len(batch) for batch in batches(loader, 4)) == 9
    assert ("the DataLoader shuffles" in caplog.text) == shuffle
