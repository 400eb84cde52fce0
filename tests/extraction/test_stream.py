"""Samples travel with their numbers: batch by batch, with ids, raw samples and kept columns."""

from collections import UserDict

import numpy as np
import pytest
import torch
from letters import Letters
from torch import nn

import fimetric as fm
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.parts import Parts
from fimetric.extraction.stream import stream
from fimetric.fisher.stream import loss_values
from fimetric.objectives import Objective

N, WORDS = 23, ["a", "quick", "brown fox", "jumps", "over the lazy dog"]


@pytest.fixture
def rows():
    model = nn.Linear(4, 4).double()
    return Objective(lambda x: (model(x) - x).square().sum(1), model)


def texts(n):
    return [f"{WORDS[i % 5]} {i}" for i in range(n)]


def test_each_batch_comes_with_the_features_that_extract_gives(rows):
    data = {"x": torch.randn(N, 4, dtype=torch.float64), "label": list(range(N))}
    found = list(stream(Extractor(rows), data, 5))
    whole = fm.extract(rows, data, 5, progress=False)
    assert [len(batch) for batch, _ in found] == [5, 5, 5, 5, 3]
    assert [name for batch, _ in found for name in batch.ids] == list(whole.ids)
    assert [y for batch, _ in found for y in batch.kept["label"]] == list(range(N))
    assert np.array_equal(np.concatenate([table.values for _, table in found]), whole.values)


def test_features_of_earlier_parts_come_again_without_work(rows, tmp_path):
    data = torch.randn(N, 4, dtype=torch.float64)
    whole = fm.extract(rows, data, 5, folder=tmp_path / "f", progress=False)
    extractor = Extractor(rows)
    parts = Parts(tmp_path / "f", extractor.difference)
    again = [table for _, table in stream(extractor, data, 5, parts=parts)]
    assert np.array_equal(np.concatenate([table.values for table in again]), whole.values)
    assert not extractor.fingerprint  # it saw no batch


def test_an_objective_that_prepares_texts_takes_texts(letters):
    found = list(stream(Extractor(letters), texts(N), 4))
    assert [text for batch, _ in found for text in batch.raw] == texts(N)
    alone = [letters(letters.prepare([text])).item() for text in texts(N)]
    together = np.concatenate([table.losses[:, 0] for _, table in found])
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_a_detector_of_texts_scores_texts(letters):
    detector = fm.Detector(letters).fit(texts(60))
    strange = ["ZZZZZZZZZZ", "~~~~~~~"]
    assert detector.score(strange).min() > np.median(detector.score(texts(60)))
    alone = np.concatenate([detector.score([text]) for text in strange])
    np.testing.assert_allclose(detector.score(strange), alone, rtol=1e-9)


def test_texts_are_refused_where_nothing_prepares_them(rows):
    with pytest.raises(TypeError, match="element 0 of the list is text; tokenise"):
        fm.extract(rows, texts(N), progress=False)


def test_a_detector_streams_what_it_scores(rows):
    data = torch.randn(40, 4, dtype=torch.float64)
    detector = fm.Detector(rows, group_size=2, batch_size=6).fit(data)
    found = list(detector.stream(data))
    assert [len(batch) for batch, _ in found] == [6, 6, 6, 6, 6, 6, 4]
    scores = np.concatenate([detector.density.score(table) for _, table in found])
    np.testing.assert_allclose(scores, detector.score(data), rtol=1e-9)
    with pytest.raises(ValueError, match="5 samples do not make whole groups of 2"):
        list(detector.stream(iter([data[:3], data[3:5]])))


class Wrong(Letters):
    """An objective whose ``prepare`` returns what it is told."""

    returned = None

    def prepare(self, samples):
        return self.returned(samples)


RETURNED = {
    "nothing": (lambda texts: None, "returned 'x' as NoneType; return a tensor"),
    "a list": (lambda texts: [1] * len(texts), "returned 'x' as list; return a tensor"),
    "lists": (lambda texts: {"input_ids": [[1]]}, "returned 'input_ids' as list"),
    "no entries": (lambda texts: {}, "an empty dictionary"),
    "a number": (lambda texts: torch.tensor(1), r"shape \(\) for 8 texts; return one row a text"),
    "pieces": (
        lambda texts: torch.ones(9, 3),
        r"shape \(9, 3\) for 8 texts; return one row a text",
    ),
    "too few": (lambda texts: torch.ones(1, 3), r"shape \(1, 3\) for 8 texts"),
}


@pytest.mark.parametrize("case", RETURNED)
def test_what_prepare_returns_is_one_row_a_text(letters, case):
    objective = Wrong(letters.module)
    objective.returned, message = RETURNED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        fm.extract(objective, texts(8), 4, progress=False)


def test_what_a_tokenizer_returns_is_taken(letters):
    objective = Wrong(letters.module)
    objective.returned = lambda texts: UserDict(letters.prepare(texts))
    found, expected = (fm.extract(o, texts(N), 4, progress=False) for o in (objective, letters))
    assert np.array_equal(found.values, expected.values)


def test_what_is_no_text_among_texts_is_named(letters):
    with pytest.raises(TypeError, match="element 1 of the list is int, others are texts"):
        fm.extract(letters, ["abcd", 3, "ef"], progress=False)


def test_features_from_before_there_were_checksums_go_on(rows, tmp_path):
    data = torch.randn(N, 4, dtype=torch.float64)
    whole = fm.extract(rows, data, 5, folder=tmp_path / "f", progress=False)
    place = tmp_path / "f" / "data.sha256"
    place.write_text(place.read_text()[:64])
    again = fm.extract(rows, data, 5, folder=tmp_path / "f", progress=False)
    assert np.array_equal(again.values, whole.values)


def test_the_fisher_metric_takes_texts_too(letters):
    alone = [letters.prepare([text]) for text in texts(N)]
    tensors = {key: nn.utils.rnn.pad_sequence([x[key][0] for x in alone], True) for key in alone[0]}
    found = fm.fisher.Diagonal().fit(letters, texts(N), progress=False)
    expected = fm.fisher.Diagonal().fit(letters, tensors, progress=False)
    a, b = (metric.features(texts(4), progress=False).values for metric in (found, expected))
    np.testing.assert_allclose(a, b, rtol=1e-9)
    losses = loss_values(letters, texts(N), progress=False)
    np.testing.assert_allclose(losses, [letters(x).item() for x in alone], rtol=1e-12)
