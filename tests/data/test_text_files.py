# ruff: noqa: E501 (a row of the table is a line where it can be)
"""Texts in files, as others write them: each comes out as it was written, under its name."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fimetric.data import Samples, Spec, Texts, load, parquet
from fimetric.data.named import Named
from fimetric.data.records import HEAD

TEXTS = ['A first, with commas; and "quotes".', "Zweite Zeile: Maße", "third\tone", "日本語", "5"]
LABELS = [0, 1, 1, 0, 2]
FRAME = pd.DataFrame({"label": LABELS, "text": TEXTS})


def write_csv(path: Path, delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["text", "label"])
        writer.writerows(zip(TEXTS, LABELS, strict=True))


def write_jsonl(path: Path) -> None:
    rows = [{"label": y, "text": x} for x, y in zip(TEXTS, LABELS, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


WRITERS: dict[str, Callable[[Path], object]] = {
    "csv.csv": write_csv,
    "csv.tsv": lambda path: write_csv(path, "\t"),
    "json.jsonl": write_jsonl,
    "pandas.csv": lambda path: FRAME.to_csv(path, index=False),
    "pandas.tsv": lambda path: FRAME.to_csv(path, sep="\t", index=False, lineterminator="\r\n"),
    "pandas.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "pandas.parquet": lambda path: FRAME.to_parquet(path),
    "categories.parquet": lambda path: FRAME.astype({"text": "category"}).to_parquet(path),
    "datasets.parquet": lambda path: datasets.Dataset.from_pandas(FRAME).to_parquet(path),
    "datasets.csv": lambda path: datasets.Dataset.from_pandas(FRAME).to_csv(path),
    "datasets.jsonl": lambda path: datasets.Dataset.from_pandas(FRAME).to_json(path),
    "bom.csv": lambda path: FRAME.to_csv(path, index=False, encoding="utf-8-sig"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_others_write_comes_out_as_it_was(name, tmp_path):
    WRITERS[name](tmp_path / name)
    found = load(tmp_path / name)
    assert isinstance(found, Texts) and isinstance(found, Samples)
    assert found.raw(range(len(found))) == TEXTS and found.kept == {"label": LABELS}
    assert found.ids[3] == f"{Path(name).stem}/3" and found.spec == Spec("texts")
    assert load(tmp_path / name, limit=2).raw([1]) == TEXTS[1:2]
    last = found.select([4, 0])
    assert isinstance(last, Texts) and last.raw([0]) == ["5"] and last.kept == {"label": [2, 0]}
    assert found[1] == {"text": TEXTS[1], "label": 1, "id": found.ids[1]}
    assert len(list(found)) == 5


def test_names_of_rows_and_columns_beside(tmp_path):
    frame = FRAME.assign(id=list("abcde"), prompt="p", year=1999)
    frame.to_csv(tmp_path / "a.csv")  # with the index of pandas, which has no name
    found = load(tmp_path / "a.csv")
    assert found.ids == list("abcde")
    assert found.kept == {"label": LABELS, "prompt": ["p"] * 5}
    FRAME.set_axis(list("vwxyz")).to_csv(tmp_path / "b.csv")
    assert load(tmp_path / "b.csv").ids == list("vwxyz")
    FRAME.set_axis(list("vwxyz")).to_parquet(tmp_path / "b.parquet")
    assert load(tmp_path / "b.parquet").ids == list("vwxyz")
    FRAME.assign(label=list("nnppn")).to_csv(tmp_path / "c.csv")
    assert load(tmp_path / "c.csv").kept == {"label": list("nnppn")}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_which_column_holds_the_texts(suffix, tmp_path, caplog):
    caplog.set_level("INFO")
    write = {
        ".csv": lambda frame, path: frame.to_csv(path, index=False),
        ".jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
        ".parquet": lambda frame, path: frame.to_parquet(path),
    }[suffix]
    frames = {  # the columns that there are -> the one that is taken
        ("body", "label"): "body",
        ("title", "content"): "content",
        ("source", "target"): "target",
        ("stars", "text"): "text",
    }
    for names, column in frames.items():
        values = {name: range(5) if name in ("stars", "label") else ["-x-"] * 5 for name in names}
        write(pd.DataFrame({**values, column: TEXTS}), tmp_path / f"a{suffix}")
        assert load(tmp_path / f"a{suffix}").raw(range(5)) == TEXTS
    assert "read as texts 'text'; left out: stars" in caplog.text
    write(pd.DataFrame({"title": TEXTS, "body": TEXTS[::-1]}), tmp_path / f"a{suffix}")
    with pytest.raises(ValueError, match="there are title, body; name it by column='title'"):
        load(tmp_path / f"a{suffix}")
    assert load(tmp_path / f"a{suffix}", column="body").raw([0]) == ["5"]
    assert Named(column="body").open(str(tmp_path / f"a{suffix}")).raw([0]) == ["5"]
    write(pd.DataFrame({"source": TEXTS, "label": LABELS}), tmp_path / f"a{suffix}")
    found = load(tmp_path / f"a{suffix}", column="source")
    assert found.raw([3]) == TEXTS[3:4] and list(found.kept) == ["label"]


def test_a_plain_file_has_a_text_a_line(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone \r\n\n  \ntwo\xe2\x80\xa8still two\nlast")
    found = load(tmp_path / "a.txt")
    assert found.raw(range(3)) == ["one ", "two\u2028still two", "last"]
    assert found.ids == ["a/0", "a/3", "a/4"] and "2 empty lines of a are left out" in caplog.text
    assert len(load(tmp_path / "a.txt", limit=1)) == 1


FOLDERS = {  # files -> the texts of the split test
    "a file a text": ({"b10.txt": "ten\nlines\n", "b9.txt": "nine"}, ["nine", "ten\nlines"]),
    "splits in folders": ({"test/b.txt": "b", "train/a.txt": "a"}, ["b"]),
    "splits in files": ({"test.txt": "b\nc\n", "train.txt": "a"}, ["b", "c"]),
    "one name of a split": ({"test.txt": "b\nc", "notes.txt": "a"}, ["a", "b\nc"]),
    "beside a table": (
        {"README.txt": "?", "test.csv": "text\nb\n", "train.csv": "text\na\n"},
        ["b"],
    ),
    "objects": ({"test.jsonl": '{"text": "b"}\n', "train.jsonl": '{"text": "a"}'}, ["b"]),
    "shards": ({"data/test-0.csv": "text\na\n", "data/test-1.csv": "text\nb\n"}, ["a", "b"]),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(name, tmp_path):
    files, expected = FOLDERS[name]
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    found = load(tmp_path)
    assert found.raw(range(len(found))) == expected
    assert found.name == tmp_path.name


def test_a_table_among_texts_is_told_where_it_is_not_of_the_split(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.csv").write_text("text\nb\n")
    with pytest.raises(ValueError, match=r"holds tables \(.csv\) and texts .*has b; name a folder"):
        load(tmp_path)


def test_each_text_of_a_folder_goes_by_its_file(tmp_path):
    for name in ("b.txt", "a/2.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x\r\ny\r\n")
    found = load(tmp_path)
    assert found.ids == ["a/2.txt", "b.txt"] and found.raw([0]) == ["x\ny"]


def test_texts_of_the_hub(monkeypatch):
    rows = datasets.Dataset.from_dict({"sentence": TEXTS, "label": LABELS, "idx": LABELS})
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: rows)
    found = load("some/set", limit=3)
    assert found.raw(range(3)) == TEXTS[:3] and found.kept == {"label": LABELS[:3]}
    with pytest.raises(ValueError, match=r"size=8 does not concern some/set, which holds texts"):
        load("some/set", size=8)


BAD = {  # file, its bytes, what is asked for -> words of the refusal
    "another column": ("a.csv", b"text,y\na,1\n", {"column": "body"}, "no column 'body'; it has text, y"),
    "numbers as a column": ("a.csv", b"text,y\na,1\n", {"column": "y"}, "'y' holds numbers"),
    "two columns": ("a.tsv", b"p\tq\nb\tc\n", {}, "there are p, q; name it by column='p'"),
    "two known columns": ("a.csv", b"text,content\nb,c\n", {}, "there are text, content; name it"),
    "no columns": ("a.csv", b"label,id\n1,2\n", {}, "has no column 'image'; it has label, id"),
    "a missing text": ("a.csv", b"text,y\na,1\n,2\n", {}, r"a\.csv, row 1 \(line 3\), column 'text' holds no text; fill"),
    "a blank text": ("a.jsonl", b'{"text": "a"}\n{"text": " "}', {}, r"row 1 \(line 2\), column 'text' holds no text"),
    "a null": ("a.jsonl", b'{"text": null}', {}, r"row 0 \(line 1\), column 'text' holds no text"),
    "no such key": ("a.jsonl", b'{"text": "a"}\n\n{"txt": "b"}', {}, r"row 1 \(line 3\), column 'text' holds no text"),
    "a number": ("a.jsonl", b'{"text": "a"}\n{"text": 5}', {}, r"row 1 \(line 2\), column 'text' holds int, no text"),
    "a list": ("a.jsonl", b'{"text": ["a"]}', {}, "'image'; it has text: no pictures"),
    "broken JSON": ("a.jsonl", b'{"text": "a"}\n{"text": "b"', {}, r"a\.jsonl, line 2 is no valid JSON .*one object a line"),
    "an array": ("a.jsonl", b'[{"text": "a"}]', {}, "line 1 is a list; write one object a line"),
    "deep JSON": ("a.jsonl", b'{"text": ' + b"[" * 10**6, {}, "line 1 is no valid JSON"),
    "an empty file": ("a.txt", b"", {}, "a.txt is empty"),
    "empty lines": ("a.txt", b"\n\n \n", {}, "holds no text, but 3 empty lines"),
    "names alone": ("a.csv", b"text,label\n", {}, "a.csv has no rows"),
    "an empty object": ("a.jsonl", b"\n", {}, "a.jsonl has no rows"),
    "latin-1": ("a.txt", "one\nMaße".encode("latin-1"), {}, r"a\.txt, line 2 is no text in UTF-8 \(byte 2 is 0xdf\); save it as"),
    "latin-1 in a table": ("a.csv", "text\none\nMaße\n".encode("latin-1"), {}, r"a\.csv, line 3 is no text in UTF-8"),
    "UTF-16": ("a.txt", "one\ntwo".encode("utf-16-le"), {}, "line 1 holds NUL bytes.*UTF-16; save it as UTF-8"),
    "NUL": ("a.csv", b"text\na\nb\0c\n", {}, r"a\.csv, line 3 holds NUL bytes"),
    "a field too many": ("a.tsv", b"text\ty\na\t1\nb\t2\t3\n", {}, r"row 1 \(line 3\) has 3 fields, and the first line names 2"),
    "a field too few": ("a.tsv", b"text\ty\na\n", {}, r"row 0 \(line 2\) has 1 fields, and the first line names 2"),
    "an open quote": ("a.csv", b'text\n"a\nb\n', {}, r"a\.csv, line 3 is damaged .*mend its quotes"),
    "semicolons": ("a.csv", b"text;y\na;1\n", {}, "one column 'text;y', which looks like several.*';'"),
    "a name twice": ("a.csv", b"text,text\na,b\n", {}, "two columns 'text'; rename one"),
    "a rate": ("a.csv", b"text\na\n", {"rate": 8000}, "rate=8000 does not concern a, which holds rows of text"),
    "a size": ("a.txt", b"a", {"size": 8}, "size=8 does not concern a, which holds a text a line"),
    "a column of lines": ("a.txt", b"a", {"column": "text"}, "column='text' does not concern a, which"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_file_row_and_column(name, tmp_path):
    file, data, asked, said = BAD[name]
    (tmp_path / file).write_bytes(data)
    with pytest.raises(ValueError, match=said):
        load(tmp_path / file, **asked)


def test_a_line_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("fimetric.data.lines.LONGEST", 2000)
    for name in ("a.txt", "a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(b'{"text": "a"}\n' + b"x" * 2001)
        with pytest.raises(ValueError, match=f"{name}, line 2 has more than 0 MiB without an end"):
            load(tmp_path / name)


def test_a_long_text_in_a_table_is_read_and_the_limit_of_csv_left_as_it_was(tmp_path):
    before = csv.field_size_limit()
    pd.DataFrame({"text": ["y" * 2 * before]}).to_csv(tmp_path / "a.csv")
    assert load(tmp_path / "a.csv").raw([0]) == ["y" * 2 * before]
    assert csv.field_size_limit() == before


def test_what_is_wrong_in_parquet_is_named_by_row(tmp_path):
    path = tmp_path / "a.parquet"
    for column, said in (
        (["a", None], "row 1, column 'text' holds no text; fill"),
        (["a"] * 65 + [""], "row 65, column 'text' holds no text"),
        ([1, 2], "has no column 'image'; it has text: one column of numbers"),
    ):
        pq.write_table(pa.table({"text": column}), path)
        with pytest.raises(ValueError, match=said):
            load(path)
    raw = pa.array([b"a", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"text": raw}), path)
    with pytest.raises(ValueError, match="row 1, column 'text' holds no text in UTF-8"):
        load(path)
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(ValueError, match=r"column='body'|no column 'body'; it has text"):
        load(path, column="body")
    with pytest.raises(ValueError, match="channels=1 does not concern a, which holds texts"):
        load(path, channels=1)


def test_files_of_other_columns_are_not_joined(tmp_path):
    for suffix, write in ((".csv", pd.DataFrame.to_csv), (".parquet", pd.DataFrame.to_parquet)):
        place = tmp_path / suffix[1:]
        place.mkdir()
        write(FRAME, place / f"test-0{suffix}", index=False)
        write(FRAME.rename(columns={"text": "body"}), place / f"test-1{suffix}", index=False)
        with pytest.raises(ValueError, match=r"test-1\..* bring them to"):
            load(place)


def test_nothing_after_the_limit_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * HEAD + "broken")
    assert len(load(tmp_path / "a.jsonl", limit=HEAD)) == HEAD
    pq.write_table(pa.table({"text": ["a"] * parquet.ROWS + [None]}), tmp_path / "a.parquet")
    assert len(load(tmp_path / "a.parquet", limit=parquet.ROWS)) == parquet.ROWS


def test_texts_have_no_numbers_before_they_are_prepared(tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\n")
    found = load(tmp_path / "a.txt")
    for call in (lambda: found.values, lambda: found.shape, found.tensor):
        with pytest.raises(TypeError, match=r"a holds texts, which are no numbers.*tokenise"):
            call()
    with pytest.raises(TypeError, match="a holds texts"):
        Named().open(str(tmp_path / "a.txt"), (1, 8, 8))


@pytest.mark.parametrize(
    ("made", "kind", "said"),
    [
        (lambda: Texts([]), ValueError, "texts is empty"),
        (lambda: Texts(["a", ""], name="t"), ValueError, "t: text 1 is an empty text"),
        (lambda: Texts(["a", None]), TypeError, r"text 1 is NoneType \(a missing value\)"),
        (lambda: Texts(["a"], ["p", "q"]), ValueError, "1 samples but 2 ids"),
        (lambda: Texts(["a"], kept={"label": [1, 2]}), ValueError, "2 values of 'label'"),
    ],
)
def test_what_makes_no_texts(made, kind, said):
    with pytest.raises(kind, match=said):
        made()


@pytest.mark.skipif("FIMETRIC_DATA" not in os.environ, reason="FIMETRIC_DATA is not set")
def test_real_texts():
    found = load("wikitext2", "test")
    rows = pq.read_table(Path(os.environ["FIMETRIC_DATA"]) / "wikitext2/test.parquet").to_pylist()
    assert found.raw(range(len(rows))) == [row["text"] for row in rows]
    assert found.kept["label"] == [row["label"] for row in rows]
