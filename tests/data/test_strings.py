# ruff: noqa: E501 (a row of the table is a line where it can be)
"""Texts in memory: whatever holds them, each is prepared under its name, in its order."""

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from fimetric.data import Batch, Texts, batches, length

TEXTS = ["one", "three two", "4", "ü", "a longer text"]
LABELS = [3, 1, 4, 1, 5]
NAMES = list("vwxyz")
ROWS = [{"text": t, "label": y} for t, y in zip(TEXTS, LABELS, strict=True)]
COLUMNS = {"text": TEXTS, "label": LABELS}
FRAME = pd.DataFrame(COLUMNS, index=NAMES)


def prepare(samples):
    """Return the letters of texts as tokens, with a mask."""
    assert all(type(text) is str for text in samples)
    tokens = [torch.tensor([ord(letter) for letter in text]) for text in samples]
    pad = torch.nn.utils.rnn.pad_sequence
    mask = pad([torch.ones_like(each) for each in tokens], batch_first=True)
    return {"input_ids": pad(tokens, batch_first=True), "attention_mask": mask}


class Items(Dataset):
    """A data set of whatever is in a list."""

    def __init__(self, items) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Stream(IterableDataset):
    def __init__(self, items) -> None:
        self.items = items

    def __iter__(self):
        return iter(self.items)


PLAIN = {  # texts alone, numbered
    "list": lambda: TEXTS,
    "tuple": lambda: tuple(TEXTS),
    "array": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, dtype=object),
    "array of strings": lambda: np.array(TEXTS, dtype=np.dtypes.StringDType()),
    "generator": lambda: (text for text in TEXTS),
    "generator of batches": lambda: iter([TEXTS[:2], TEXTS[2:]]),
    "list of batches": lambda: [TEXTS[:2], TEXTS[2:]],
    "set": lambda: Items(TEXTS),
    "stream": lambda: Stream(TEXTS),
    "loader": lambda: DataLoader(Items(TEXTS), batch_size=2),
    "loader of single ones": lambda: DataLoader(Items(TEXTS), batch_size=None),
    "column of pandas": lambda: pd.Series(TEXTS),
    "column of arrow": lambda: pa.array(TEXTS),
    "chunks of arrow": lambda: pa.chunked_array([TEXTS[:2], TEXTS[2:]]),
    "hugging face column": lambda: datasets.Dataset.from_dict(COLUMNS)["text"],
    "texts and labels": lambda: (TEXTS, LABELS),
    "pairs": lambda: list(zip(TEXTS, LABELS, strict=True)),
    "set of pairs": lambda: Items(list(zip(TEXTS, NAMES, strict=True))),
    "loader of pairs": lambda: DataLoader(Items(list(zip(TEXTS, LABELS, strict=True))), 2),
    "another name": lambda: {"anything": TEXTS},
    "rows of another name": lambda: [{"anything": text} for text in TEXTS],
}
LABELLED = {  # texts with labels
    "dictionaries": lambda: ROWS,
    "generator of dictionaries": lambda: (row for row in ROWS),
    "columns": lambda: COLUMNS,
    "columns of arrays": lambda: {key: np.array(values) for key, values in COLUMNS.items()},
    "batches of columns": lambda: [{k: v[:2] for k, v in COLUMNS.items()}, {k: v[2:] for k, v in COLUMNS.items()}],
    "loader of dictionaries": lambda: DataLoader(Items(ROWS), batch_size=2),
    "set of dictionaries": lambda: Items(ROWS),
    "hugging face": lambda: datasets.Dataset.from_dict(COLUMNS),
    "hugging face stream": lambda: datasets.Dataset.from_dict(COLUMNS).to_iterable_dataset(),
    "arrow": lambda: pa.table(COLUMNS),
    "samples": lambda: Texts(TEXTS, list("01234"), kept={"label": LABELS}),
}  # fmt: skip


def joined(data, size: int):
    found = list(batches(data, size, prepare=prepare))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    for batch in found:
        for key, row in prepare(batch.raw).items():
            assert torch.equal(batch.x[key][:, : row.shape[1]], row)
            assert not batch.x[key][:, row.shape[1] :].any()
    return (
        [text for batch in found for text in batch.raw],
        [name for batch in found for name in batch.ids],
        [label for batch in found for label in batch.kept.get("label", [None] * len(batch))],
    )


@pytest.mark.parametrize("size", [2, 100])
@pytest.mark.parametrize("name", [*PLAIN, *LABELLED])
def test_texts_are_read_from_whatever_holds_them(name, size):
    make = {**PLAIN, **LABELLED}[name]
    labels = LABELS if name in LABELLED else [None] * 5
    assert joined(make(), size) == (TEXTS, list("01234"), labels)
    assert length(make()) in (None, 5)


def test_names_travel_with_the_texts():
    for data in (
        FRAME,
        FRAME.reset_index(names="id"),
        [{**row, "id": name} for row, name in zip(ROWS, NAMES, strict=True)],
        {**COLUMNS, "path": NAMES},
        Texts(TEXTS, NAMES, kept={"label": LABELS}),
    ):
        assert joined(data, 3) == (TEXTS, NAMES, LABELS)
    assert joined(FRAME["text"], 3) == (TEXTS, NAMES, [None] * 5)
    told = list(batches([{"text": "a", "prompt": "p", "year": 1}], 1, prepare=prepare))
    assert told[0].kept == {"prompt": ["p"]}


def test_the_column_is_the_one_of_a_known_name_or_the_only_one():
    for data in (pd.DataFrame, datasets.Dataset.from_dict, dict):
        columns = {"title": NAMES, "text": TEXTS, "stars": LABELS}
        assert joined(data(columns), 3)[0] == TEXTS
        with pytest.raises(ValueError, match=r"there are title, body; pass that column alone, as"):
            joined(data({"title": NAMES, "body": TEXTS}), 3)


def test_texts_beside_pictures_or_tokens_are_no_data():
    x = torch.rand(2, 3)
    for rows in ({"x": x, "text": ["a", "b"]}, {"input_ids": x.long(), "text": ["a", "b"]}):
        with pytest.raises(TypeError, match=r"column 'text' holds str.*drop"):
            list(batches(rows, 2, prepare=prepare))
    with pytest.raises(TypeError, match=r"column 'city' holds .*, no numbers; drop it"):
        list(batches(pd.DataFrame({"a": [1, 2], "city": ["u", "v"]}), 2))


BESIDE = {"n": list(range(5)), "foo": TEXTS}  # one column of texts among numbers


@pytest.mark.parametrize(
    "data", [BESIDE, pd.DataFrame(BESIDE), datasets.Dataset.from_dict(BESIDE)], ids=type
)
def test_the_only_texts_are_read_where_texts_are_asked_for(data, caplog):
    with caplog.at_level("INFO", "fimetric"):
        assert joined(data, 2)[0] == TEXTS
    assert [r.message for r in caplog.records if "is read as texts 'foo'; left out: n" in r.message]


TOLD = {"article": NAMES, "summary": TEXTS}
TOLD_AS_X = {"x": TEXTS, "article": NAMES}
MADE_OF = {
    "columns": lambda of: of,
    "rows": lambda of: pd.DataFrame(of).to_dict("records"),
    "table": pd.DataFrame,
    "hugging face": datasets.Dataset.from_dict,
    "loader": lambda of: DataLoader(datasets.Dataset.from_dict(of), batch_size=2),
}


@pytest.mark.parametrize("columns", [TOLD, TOLD_AS_X], ids=["names", "x"])
@pytest.mark.parametrize("made", MADE_OF)
def test_a_column_that_a_loss_is_told_is_kept_whatever_its_name(made, columns, caplog):
    with caplog.at_level("INFO", "fimetric"):
        found = list(batches(MADE_OF[made](columns), 2, prepare=prepare, condition="article"))
    assert [text for batch in found for text in batch.raw] == TEXTS
    assert [name for batch in found for name in batch.kept["article"]] == NAMES
    assert "no loss gets it" not in caplog.text


@pytest.mark.parametrize("made", ["columns", "rows", "hugging face"])
def test_a_column_that_a_loss_is_told_stands_beside_arrays(made):
    x = np.random.default_rng(0).random((5, 3)).astype("float32")
    data = {"x": list(x) if made != "columns" else x, "caption": NAMES}
    found = list(batches(MADE_OF[made](data), 5, condition="caption"))
    assert np.allclose(torch.cat([batch.x for batch in found]), x)
    assert [name for batch in found for name in batch.kept["caption"]] == NAMES


@pytest.mark.parametrize("made", ["columns", "rows", "table", "hugging face"])
def test_x_is_a_text_where_texts_are_asked_for(made):
    found = list(batches(MADE_OF[made]({"x": TEXTS, "source": NAMES}), 9, prepare=prepare))
    assert [text for batch in found for text in batch.raw] == TEXTS
    assert [name for batch in found for name in batch.kept["source"]] == NAMES
    assert joined({"x": TEXTS}, 2)[0] == joined([{"x": t} for t in TEXTS], 2)[0] == TEXTS


BAD = {  # data -> words of the refusal
    "a number": (["a", 3], TypeError, "element 1 of the list is int, others are texts"),
    "a number first": ([3, "a"], TypeError, "element 0 of the list is int, others are texts"),
    "None": (["a", None], TypeError, r"element 1 of the list is NoneType \(a missing value\)"),
    "NaN": (["a", np.nan], TypeError, r"element 1 of the list is float \(a missing value\)"),
    "empty": (["a", ""], ValueError, "element 1 of the list is an empty text; leave it out"),
    "blank": (iter(["a", "b", " \n"]), ValueError, "element 2 of the data is an empty text"),
    "NaN in a column": (pd.Series(["a", np.nan]), TypeError, r"row 1 \(index 1\) of column 'text' is"),
    "None in a table": (FRAME.assign(text=[*TEXTS[:4], None]), TypeError, r"row 4 \(index z\) of column 'text'"),
    "NA of pandas": (FRAME.assign(text=[*TEXTS[:4], pd.NA]), TypeError, r"row 4 \(index z\) of column 'text'"),
    "empty in a table": (FRAME.assign(text=["", *TEXTS[1:]]), ValueError, r"row 0 \(index v\) .* is an empty text"),
    "null of arrow": (pa.array(["a", None]), TypeError, "row 1"),
    "null of a set": (datasets.Dataset.from_dict({"text": ["a", None]}), TypeError, "element 1 of the data is NoneType"),
    "no text in a row": ([{"text": "a"}, {"body": "b"}], TypeError, "element 1 of the list is NoneType"),
    "texts and rows": (["a", {"text": "b"}], TypeError, "element 1 of the list is dict"),
    "objects": (np.array(["a", 3], dtype=object), TypeError, "element 1 of the list is int"),
    "bytes": (["a", b"b"], TypeError, "element 1 of the list is bytes"),
    "a matrix": (np.array([["a", "b"]]), TypeError, "holds str_"),
    "a text alone": ("a text", TypeError, r"is a str; open a file.*pass \[text\]"),
    "no texts": ([], ValueError, "the data are empty"),
    "a set of words": ({"a", "b"}, TypeError, "no order"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_text_among_texts_is_named_by_row(name):
    data, kind, said = BAD[name]
    with pytest.raises(kind, match=said):
        list(batches(data, 2, prepare=prepare))


def test_texts_that_nothing_prepares_are_refused():
    for data in (Texts(TEXTS), TEXTS, tuple(TEXTS), ROWS, FRAME, pd.Series(TEXTS), iter(TEXTS)):
        with pytest.raises(TypeError, match=r"tokenise|a tuple that begins with a str"):
            list(batches(data, 2))


def test_a_stream_of_texts_is_read_a_portion_at_a_time():
    read = []

    def source():
        for text in TEXTS * 100:
            read.append(text)
            yield text

    next(batches(source(), 4, prepare=prepare))
    assert len(read) <= 8


LONG = [torch.rand(n, generator=torch.Generator().manual_seed(n)) for n in (3, 3, 5, 2, 2, 2)]


@pytest.mark.parametrize(
    "data",
    [
        LONG,
        [x.numpy() for x in LONG],
        Items(LONG),
        Items([{"x": x, "label": i} for i, x in enumerate(LONG)]),
        iter([x[None] for x in LONG]),
        pd.Series([x.numpy() for x in LONG]),
    ],
    ids=["list", "arrays", "set", "dictionaries", "generator", "column"],
)
def test_clips_of_other_length_make_a_batch_of_their_own(data):
    found = list(batches(data, 2))
    assert [tuple(batch.x.shape) for batch in found] == [(2, 3), (1, 5), (2, 2), (1, 2)]
    assert [name for batch in found for name in batch.ids] == list("012345")
    rows = [row for batch in found for row in batch.x]
    assert all(torch.equal(row, x) for row, x in zip(rows, LONG, strict=True))


def test_groups_of_clips_stay_whole():
    assert [len(b) for b in batches([LONG[i] for i in (0, 1, 3, 4)], 4, group_size=2)] == [2, 2]
    with pytest.raises(ValueError, match=r"samples differ: 2 is .*bring them to one shape"):
        list(batches(LONG, 4, group_size=2))


def test_clips_of_several_channels_differ_in_one_dimension():
    clips = [torch.rand(1, 2, n) for n in (4, 4, 6)]
    assert [tuple(b.x.shape) for b in batches(iter(clips), 9)] == [(2, 2, 4), (1, 2, 6)]
    with pytest.raises(ValueError, match="samples differ"):
        list(batches(iter([clips[0], torch.rand(1, 3, 5)]), 9))
    for other in (torch.rand(1, 2, 4).double(), torch.rand(1, 4)):
        with pytest.raises(ValueError, match="samples differ"):
            list(batches([Batch(clips[0], ["a"]), Batch(other, ["b"])], 9))
