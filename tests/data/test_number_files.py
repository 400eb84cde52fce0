# ruff: noqa: E501 (a row of the table is a line where it can be)
"""Tables of numbers in files: rows of floats under the names of their columns."""

import csv
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fimetric.data import Samples, batches, load
from fimetric.data.named import Named
from fimetric.data.records import HEAD

A = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
NAMES = ["x", "a", "b"]
LABELS = ["u", "v", "u", "u", "v", "u", "v"]
FRAME = pd.DataFrame(A, columns=NAMES).assign(label=LABELS)


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, "label"])
        writer.writerows([*map(repr, row.tolist()), y] for row, y in zip(A, LABELS, strict=True))


WRITERS: dict[str, Callable[[Path], object]] = {
    "csv.csv": write_csv,
    "pandas.csv": lambda path: FRAME.to_csv(path),
    "pandas.tsv": lambda path: FRAME.to_csv(path, sep="\t", index=False),
    "pandas.jsonl": lambda path: path.write_text(
        "".join(json.dumps(row) + "\n" for row in FRAME.astype(object).to_dict("records"))
    ),
    "pandas.parquet": lambda path: FRAME.to_parquet(path),
    "datasets.parquet": lambda path: datasets.Dataset.from_pandas(FRAME).to_parquet(path),
    "chunks.parquet": lambda path: FRAME.to_parquet(path, row_group_size=2),
}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_samples_under_the_names_of_their_columns(name, tmp_path):
    WRITERS[name](tmp_path / name)
    found = load(tmp_path / name)
    assert type(found) is Samples
    wide = not name.endswith(".parquet")  # a file of text does not say how many bits it has
    assert found.values.dtype == (torch.float64 if wide else torch.float32)
    np.testing.assert_array_equal(found.values.float().numpy(), A)
    assert found.columns == tuple(NAMES) and found.kept == {"label": LABELS}
    assert found.spec.columns == tuple(NAMES) and found.spec.shape == (3,)
    parts = list(batches(found, 4))
    assert [batch.columns for batch in parts] == [tuple(NAMES)] * 2
    assert parts[1].kept["label"] == LABELS[4:] and parts[1].ids == found.ids[4:]
    assert torch.equal(load(tmp_path / name, limit=2).values, found.values[:2])
    last = found.select([6, 0])
    assert last.columns == found.columns and last.kept == {"label": ["v", "u"]}
    assert Named().open(str(tmp_path / name)).columns == found.columns  # free of [0, 1]


FINE = np.random.default_rng(1).normal(size=(50, 3)) * [60, 1e-60, 1] + [1.7e9, 0, 16777217]


@pytest.mark.parametrize("name", [*(n for n in WRITERS if n.startswith("pandas")), "a.npy"])
def test_digits_of_64_bits_are_those_of_a_table_in_memory(name, tmp_path, monkeypatch):
    frame = pd.DataFrame(FINE, columns=NAMES)
    monkeypatch.setattr("test_number_files.FRAME", frame)
    np.save(tmp_path / "a.npy", FINE) if name == "a.npy" else WRITERS[name](tmp_path / name)
    found = load(tmp_path / name)
    np.testing.assert_array_equal(found.tensor().numpy(), FINE)
    batch = next(iter(batches(frame, 64)))
    assert batch.x.dtype == next(iter(batches(found, 64))).x.dtype == torch.float64


def test_whole_numbers_of_64_bits_are_told_apart(tmp_path):
    table = pa.table({"a": pa.array([16777216, 16777217]), "b": pa.array([1.0, 2.0], pa.float32())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").values.tolist() == [[16777216, 1], [16777217, 2]]


def test_what_counts_as_a_number(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n 1 ,-2e3\nTrue,0x\n".replace("True,0x", ".5,+7"))
    assert load(tmp_path / "a.csv").values.tolist() == [[1, -2000], [0.5, 7]]
    table = pa.table({"a": [True, False], "b": pa.array([1, 2], pa.uint8())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").values.tolist() == [[1, 1], [0, 2]]


def test_a_table_of_the_hub(monkeypatch):
    monkeypatch.setattr(
        "datasets.load_dataset", lambda *_, **__: datasets.Dataset.from_pandas(FRAME)
    )
    found = load("some/set", limit=5)
    np.testing.assert_array_equal(found.values.numpy(), A[:5])
    assert found.columns == tuple(NAMES) and found.kept == {"label": LABELS[:5]}


late = "a,b\n" + "1,2\n" * HEAD
BAD = {  # text, what is asked for -> words of the refusal
    "categories": ("a,city,b\n1,Rome,2\n", {}, r"'city' holds texts \('Rome' in .*row 0 \(line 2\)\).*get_dummies.*column='city'"),
    "a word among numbers": ("a,b\n1,2\n3,four\n", {}, r"'b' holds texts \('four' in .*row 1 \(line 3\)\) among"),
    "a word later": (late + "3,four\n", {}, rf"row {HEAD} \(line {HEAD + 2}\), column 'b' holds 'four', where the rows"),
    "a missing value": ("a,b\n1,2\n,3\n", {}, r"a\.csv, row 1 \(line 3\), column 'a' has no value \(''\); fill it"),
    "NA": ("a,b\n1,2\n3,NA\n", {}, r"row 1 \(line 3\), column 'b' has no value \('NA'\)"),
    "NaN": ("a,b\n1,2\n3,nan\n", {}, "column 'b' has no value"),
    "infinite": ("a,b\n1,2\n3,inf\n", {}, "column 'b' holds 'inf'"),
    "underscores": (late + "1_0,2\n", {}, "column 'a' holds '1_0'"),
    "decimal commas": ("a\tb\n1,5\t2\n", {}, "column 'a' holds texts .'1,5'"),
    "no names": ("1.5,2\n3,4\n", {}, "begins with a line of numbers; put a first line"),
    "one column": ("a\n1\n2\n", {}, "one column of numbers, which may be one sample"),
    "a column with no value": ("a,b,c\n1,2,\n3,4,\n", {}, "column 'c' holds no values"),
    "a column asked for": ("a,b\n1,2\n", {"column": "a"}, "'a' holds numbers.*taken whole"),
    "ragged rows": ("a,b\n1,2\n3\n", {}, r"row 1 \(line 3\) has 1 fields"),
    "channels": ("a,b\n1,2\n", {"channels": 3}, "channels=3 does not concern a, which holds rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_file_row_and_column(name, tmp_path):
    text, asked, said = BAD[name]
    path = tmp_path / ("a.tsv" if "\t" in text else "a.csv")
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        load(path, **asked)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, None], "row 1, column 'b' has no value; fill"),
        ([1.0, np.nan], "row 1, column 'b' has no value; fill"),
        ([np.inf, 1.0], "row 0, column 'b' holds inf; fill"),
        ([1, None], "row 1, column 'b' has no value; fill"),
        (["x", "y"], "column 'b' holds texts among columns of numbers .a, c.; a table is of"),
        ([[1.0], [2.0]], "column 'b' holds list.* among columns of numbers"),
        (pd.date_range("2020", periods=2), "column 'b' holds timestamp.* among columns"),
    ],
)
def test_what_is_wrong_in_parquet_is_named(values, said, tmp_path):
    columns = {"a": [1.0, 2.0], "b": pa.array(values, from_pandas=False), "c": [1, 2]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=said):
        load(tmp_path / "a.parquet")


def peak_of(path: Path, rows: int, columns: int) -> int:
    with path.open("w") as file:
        file.write(",".join(f"c{j}" for j in range(columns)) + "\n")
        file.writelines([",".join(f"{j}.25" for j in range(columns)) + "\n"] * rows)
    tracemalloc.start()
    try:
        found = load(path)
        assert found.values[-1].tolist() == [j + 0.25 for j in range(columns)]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_with_the_values_and_their_names_alone(tmp_path):
    columns, few, many = 20, 2000, 6000
    grown = peak_of(tmp_path / "a.csv", many, columns) - peak_of(tmp_path / "a.csv", few, columns)
    name = 60 + 8  # bytes of a string of Python, and of its place in a list
    assert grown < 1.5 * (many - few) * (8 * columns + name)  # lists are let grow by an eighth


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Samples(torch.zeros(2, 3), columns=["a", "b"]), "2 names of columns"),
        (lambda: Samples(torch.zeros(2, 3, 4), columns=["a", "b", "c"]), "3 names of columns"),
        (lambda: Samples(torch.zeros(2, 3), kept={"label": [1]}), "1 values of 'label'"),
    ],
)
def test_what_does_not_fit_the_values_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        made()
