"""Samples of different length go through a model by length; their rows come in the data's order."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.data.batch import Batch
from fimetric.extraction import parts, windows
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.parts import Parts
from fimetric.extraction.stream import stream
from fimetric.objectives import Objective

N, SIZE = 150, 4


class Watched(Objective):
    """Minus the log probability of tokens, each by itself; notes the shapes that it was given."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Embedding(30, 6), nn.Tanh(), nn.Linear(6, 30)).double()
        super().__init__(self._losses, model, name="tokens")
        self._shapes: list[tuple[int, int]] = []

    def _losses(self, batch):
        tokens = batch["input_ids"]
        self._shapes.append(tuple(tokens.shape))
        said = self.module(tokens).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        return -(said * batch.get("attention_mask", torch.ones_like(tokens))).sum(1)


class Sums(Objective):
    """A loss of clips of any length."""

    def __init__(self) -> None:
        model = nn.Conv1d(1, 3, 5, padding=2).double()
        super().__init__(lambda x: model(x[:, None]).tanh().square().sum((1, 2)), model)


def lengths(n=N, seed=0):
    return np.random.default_rng(seed).integers(2, 60, n)


def texts(n=N, seed=0, kind=list):
    """Return token ids of different length, as a list of samples or as batches of one length."""
    generator = torch.Generator().manual_seed(seed)
    each = [torch.randint(30, (int(T),), generator=generator) for T in lengths(n, seed)]
    if kind is list:
        return [{"input_ids": tokens, "id": f"t{i}"} for i, tokens in enumerate(each)]
    return [Batch(tokens[None], [f"t{i}"]) for i, tokens in enumerate(each)]


def alone(objective, data):
    """Return the rows of samples that each go through the model by themselves."""
    return [fm.extract(objective, [sample], 1, progress=False).values[0] for sample in data]


@pytest.fixture
def objective():
    return Watched()


@pytest.mark.parametrize("group", [1, 3])
def test_rows_are_those_of_each_sample_alone_in_the_order_of_the_data(objective, group):
    found = fm.extract(objective, texts(), SIZE * group, group, progress=False)
    assert list(found.ids) == [f"t{i}" for i in range(N)]
    np.testing.assert_array_equal(found.dimensions, lengths())
    if group == 1:
        np.testing.assert_allclose(found.values[::5], alone(objective, texts()[::5]), rtol=1e-9)
    else:  # the joint gradient of three texts
        rows = [
            fm.extract(objective, texts()[i : i + 3], 3, 3, progress=False).values[0]
            for i in range(0, N, 3)
        ]
        np.testing.assert_allclose(found.values, rows, rtol=1e-9)


def steps(objective, batches, monkeypatch):
    monkeypatch.setattr("fimetric.extraction.stream.BATCHES", batches)
    extractor = Extractor(objective)
    extractor(next(iter(fm.data.batches(texts(4), 4))))  # what it learns of a first batch
    objective._shapes.clear()
    list(stream(extractor, texts(), SIZE))
    return sum(rows * long for rows, long in objective._shapes), len(objective._shapes)


def test_most_of_the_padding_is_saved_and_no_forward_pass_more(objective, monkeypatch):
    unsorted, sorted_ = (steps(objective, batches, monkeypatch) for batches in (1, 16))
    own = lengths().sum()
    assert sorted_[1] == unsorted[1] == -(-N // SIZE)
    assert sorted_[0] < 1.08 * own < 1.25 * own < unsorted[0]


def test_one_length_goes_through_as_it_comes(objective):
    data = {"input_ids": torch.randint(30, (11, 5)), "attention_mask": torch.ones(11, 5).long()}
    found = list(stream(Extractor(objective), data, 4))
    assert [len(batch) for batch, _ in found] == [4, 4, 3]
    kept = list(windows.windows((batch for batch, _ in found), lambda: 64))
    assert [len(window) for window in kept] == [1, 1, 1]


def test_batches_come_back_as_they_are_cut_from_the_data(objective):
    found = list(stream(Extractor(objective), texts(), SIZE))
    expected = list(fm.data.batches(texts(), SIZE))
    for (batch, table), other in zip(found, expected, strict=True):
        assert batch.ids == other.ids == list(table.ids)
        assert all(torch.equal(batch.x[key], other.x[key]) for key in other.x)


def of_one_length_each(floats):
    """Return data of different length without a mask, a batch a sample, and a loss of them."""
    generator, short = torch.Generator().manual_seed(1), lengths() // 8 + 3
    if floats:
        each = [torch.randn(1, int(T), generator=generator).double() for T in short]
        objective = Sums()
    else:
        each = [torch.randint(30, (1, int(T)), generator=generator) for T in short]
        model = nn.Embedding(30, 6).double()
        objective = Objective(lambda x: model(x).tanh().square().sum((1, 2)), model)
    return objective, [Batch(x, [f"t{i}"]) for i, x in enumerate(each)]


@pytest.mark.parametrize("floats", [False, True])
def test_without_a_mask_only_one_length_goes_together(floats, extracted, monkeypatch):
    objective, data = of_one_length_each(floats)
    monkeypatch.setattr(
        "fimetric.extraction.stream.read",
        lambda _, data, choice, *rest: (batch for batch in data if choice(batch)),
    )  # one by one: they cannot be joined
    rows = [table for _, table in stream(Extractor(objective), iter(data), SIZE)]
    assert [name for table in rows for name in table.ids] == [x.ids[0] for x in data]
    assert len(extracted.ids) < 60
    assert max(map(len, extracted.ids)) == SIZE
    apart = np.concatenate([table.values for table in rows])
    found = [stream(Extractor(objective), iter([batch]), 1) for batch in data]
    alone = [table.values[0] for each in found for _, table in each]
    np.testing.assert_allclose(apart, alone, rtol=1e-9)


@pytest.fixture
def extracted(monkeypatch):
    """Return the ids of each batch that an extractor gets, and stop where ``stop`` are there."""
    seen, plain = SimpleNamespace(ids=[], stop=10**9), Extractor.__call__

    def noting(self, batch):
        if len(seen.ids) == seen.stop:
            raise KeyboardInterrupt
        seen.ids.append(batch.ids)
        return plain(self, batch)

    monkeypatch.setattr(Extractor, "__call__", noting)
    return seen


def test_a_call_that_goes_on_gives_the_same_to_the_bit(extracted, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_SECONDS", 0.0)
    monkeypatch.setattr("fimetric.extraction.stream.BATCHES", 4)
    whole = fm.extract(Watched(), texts(), SIZE, folder=tmp_path / "whole", progress=False)
    order, extracted.ids, extracted.stop = extracted.ids, [], 21
    with pytest.raises(KeyboardInterrupt):
        fm.extract(Watched(), texts(), SIZE, folder=tmp_path / "f", progress=False)
    assert extracted.ids == order[:21]
    extracted.ids, extracted.stop = [], 10**9
    again = fm.extract(Watched(), texts(), SIZE, folder=tmp_path / "f", progress=False)
    assert extracted.ids == order[20:]  # five windows of four batches were kept
    np.testing.assert_array_equal(again.values, whole.values)
    np.testing.assert_array_equal(again.losses, whole.losses)
    for name in ("data.sha256", "features.safetensors"):
        assert (tmp_path / "f" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_window_of_which_a_part_is_kept_is_made_whole_again(stop, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_SECONDS", 0.0)
    monkeypatch.setattr("fimetric.extraction.stream.BATCHES", 4)
    whole = fm.extract(Watched(), texts(), SIZE, progress=False)
    extractor = Extractor(Watched())
    held = Parts(tmp_path / "f", extractor.difference)
    for number, _ in enumerate(stream(extractor, texts(), SIZE, parts=held)):
        if number == stop:
            break  # the parts up to here are written
    again = fm.extract(Watched(), texts(), SIZE, folder=tmp_path / "f", progress=False)
    np.testing.assert_array_equal(again.values, whole.values)


def test_progress_counts_each_sample_once(objective, tmp_path):
    told = []
    list(stream(Extractor(objective), texts(), SIZE, advance=told.append))
    assert sum(told) == N and max(told) == SIZE


def test_a_score_does_not_depend_on_the_sorting(objective, monkeypatch):
    detector = fm.Detector(objective, batch_size=SIZE).fit(texts())
    other = texts(50, 1)
    scores = detector.score(other)
    monkeypatch.setattr("fimetric.extraction.stream.BATCHES", 1)
    np.testing.assert_allclose(detector.score(other), scores, rtol=1e-9)
    np.testing.assert_allclose(detector.score(other[::-1])[::-1], scores, rtol=1e-9)


def test_padding_in_front_is_left_and_sorted_by_what_is_text(objective):
    """Only what stands behind all texts of a batch is cut."""
    mask = torch.tensor([[0, 0, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    batch = Batch({"input_ids": mask * 7, "attention_mask": mask}, ["a", "b", "c"])
    found = windows.sorted_batches([batch], 1, 1)
    assert [(each.ids, tuple(each.x["input_ids"].shape)) for each, _ in found] == [
        (["b"], (1, 3)),
        (["a"], (1, 5)),
        (["c"], (1, 6)),
    ]
