"""Tables of pandas and arrow are rows of numbers, in the order of their columns."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from fimetric.data import batches, length

A = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
NAMES = ["c", "a", "b"]
FRAME = pd.DataFrame(A, columns=NAMES)


class Foreign:
    """A table of a library that is known by arrow's protocol alone."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


ARROW = pa.Table.from_pandas(FRAME, preserve_index=False)
TABLES = {
    "frame": FRAME,
    "arrow": ARROW,
    "record batch": ARROW.to_batches()[0],
    "chunked": pa.concat_tables([ARROW.slice(0, 3), ARROW.slice(3)]),
    "foreign": Foreign(ARROW),
    "nullable": FRAME.astype("Float32"),
    "arrow types": FRAME.astype("float32[pyarrow]"),
    "labelled": FRAME.assign(label=1)[["c", "label", "a", "b"]],
}


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_samples(name):
    found = list(batches(TABLES[name], 4))
    assert [len(batch) for batch in found] == [4, 3]
    assert torch.cat([batch.x for batch in found]).numpy().tolist() == A.tolist()
    assert all(batch.x.dtype == torch.float32 for batch in found)
    assert all(batch.columns == tuple(NAMES) for batch in found)
    assert length(TABLES[name]) in (None, 7)


def test_columns_keep_their_order_and_numbers_their_digits():
    frame = pd.DataFrame({"b": [2**40 + 1, 0], "a": [True, False], "c": [0.1, 0.2]})
    [batch] = batches(frame, 2)
    assert batch.columns == ("b", "a", "c") and batch.x.dtype == torch.float64
    assert batch.x.tolist() == [[2**40 + 1, 1, 0.1], [0, 0, 0.2]]


def test_names_of_rows():
    indexed = FRAME.set_axis([f"r{i}" for i in range(7)])
    assert next(batches(indexed, 3)).ids == ["r0", "r1", "r2"]
    named = FRAME.assign(id=[f"s{i}" for i in range(7)])
    [batch] = batches(named, 7)
    assert batch.ids[-1] == "s6" and batch.columns == tuple(NAMES)
    [batch] = batches(FRAME[FRAME["a"] > 0], 7)  # as after a filter
    assert batch.ids == [str(i) for i in np.flatnonzero(A[:, 1] > 0)]


@pytest.mark.parametrize("make", [list, lambda a: [torch.from_numpy(x) for x in a]])
def test_a_column_of_arrays_is_samples(make):
    [batch] = batches(pd.Series(make(A), index=range(5, 12)), 7)
    assert batch.x.numpy().tolist() == A.tolist() and batch.ids[0] == "5"
    [batch] = batches(pa.array(A.tolist()), 7)
    assert batch.x.tolist() == A.tolist()


def test_a_missing_value_is_named_by_row_and_column():
    for name in ("frame", "nullable", "arrow types"):
        frame = TABLES[name].copy()
        frame.loc[4, "a"] = None
        frame.loc[5, "a"] = None
        frame = frame.set_axis(list("tuvwxyz"))
        with pytest.raises(
            ValueError, match=r"'a' has no value in row 4 \(index x\), and in 2 rows"
        ):
            list(batches(frame, 2))
    with pytest.raises(ValueError, match="'a' has no value in row 1"):
        list(batches(pa.table({"a": [1, None], "b": [1, 2]}), 2))
    with pytest.raises(ValueError, match=r"sample 3 .*infinite"):
        list(batches(FRAME.replace(A[3, 0], np.inf), 2))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["u"] * 7, r"'d' holds str \(str\), no numbers.*tokenizer"),
        (pd.Categorical(["u"] * 7), r"'d' holds category"),
        (pd.date_range("2020", periods=7), r"'d' holds datetime64"),
        ([{}] * 7, r"'d' holds object \(dict\)"),
        (list(A), r"'d' holds object \(ndarray\)"),
    ],
)
def test_columns_of_anything_else_are_named(values, said):
    with pytest.raises(TypeError, match=said):
        list(batches(FRAME.assign(d=values), 2))


def test_other_columns_alone():
    for one in (FRAME["a"], FRAME.iloc[0], FRAME[["a"]], ARROW.select(["a"]), pa.array([1.0])):
        with pytest.raises(TypeError, match="one column of numbers"):
            list(batches(one, 2))
    with pytest.raises(TypeError, match=r"row 0 of the column holds str.*tokenizer"):
        list(batches(pd.Series(["a", "b"]), 2))
    with pytest.raises(TypeError, match="row 1 of the column holds NoneType"):
        list(batches(pd.Series([A[0], None]), 2))
    with pytest.raises(ValueError, match="samples differ"):
        list(batches(pd.Series([A[0], A[:2, :2]]), 2))
    with pytest.raises(ValueError, match="empty"):
        list(batches(FRAME[:0], 2))


def test_tables_with_other_columns_are_not_joined():
    turned = FRAME[["a", "b", "c"]]
    parts = [*batches(FRAME, 7), *batches(turned, 7)]
    with pytest.raises(ValueError, match=r"has the columns \('c', 'a', 'b'\)"):
        list(batches(parts, 20))


@pytest.mark.parametrize("kind", [None, "torch", "numpy"])
def test_a_hugging_face_set_of_columns_is_a_table(kind):
    datasets = pytest.importorskip("datasets")
    frame = pd.DataFrame(A, columns=["a", "b", "c"]).assign(label=list("uvuvuvu"))
    found = list(batches(datasets.Dataset.from_pandas(frame).with_format(kind), 4))
    expected = list(batches(frame, 4))
    assert [batch.columns for batch in found] == [("a", "b", "c")] * 2
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.x, other.x) and one.kept == other.kept


def test_what_a_hugging_face_set_makes_of_its_columns_is_taken():
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_pandas(pd.DataFrame(A, columns=["a", "b", "c"]))

    def widened(rows):
        return {"x": [torch.full((4,), value) for value in rows["a"]]}

    first = next(iter(batches(table.with_transform(widened), 4)))
    assert first.x.shape == (4, 4) and first.columns is None
    first = next(iter(batches(table.with_format("torch", columns=["c", "a"]), 4)))
    assert set(first.columns) == {"a", "c"} and first.x.shape == (4, 2)


def test_a_stream_of_hugging_face_stays_a_stream():
    datasets = pytest.importorskip("datasets")

    def endless():
        while True:
            yield {"x": [1.0, 2.0, 3.0]}

    stream = datasets.IterableDataset.from_generator(endless)
    assert next(iter(batches(stream, 2))).x.tolist() == [[1, 2, 3]] * 2
