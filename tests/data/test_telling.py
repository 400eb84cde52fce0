"""What is told of a file as it is read: once in a process, of each file and each reading of it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile
import torch

from fimetric.data import batches, load

ROWS = pd.DataFrame({"a": [0.5, 1.5], "b": [2.5, 3.5]})


def sounds(path):
    path.mkdir()
    for i in range(2):
        soundfile.write(path / f"{i}.wav", np.zeros((80, 2)) + i / 4, 8000)


SAID = {
    "rows.csv": (lambda path: ROWS.to_csv(path, index=False), {}, ["read as a table of numbers"]),
    "rows.parquet": (ROWS.to_parquet, {}, ["read as a table of numbers"]),
    "texts.jsonl": (
        lambda path: path.write_text('{"title": "a", "body": "b"}\n'),
        {"column": "body"},
        ["read as texts 'body'; left out: title"],
    ),
    "lines.txt": (lambda path: path.write_text("a\n\nb\n"), {}, ["1 empty lines"]),
    "clips": (
        sounds,
        {"rate": 4000},
        ["no splits", "several channels", "2 of 2 clips of clips are resampled to 4000 values"],
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_a_file_is_told_of_once_and_another_anew(name, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "fimetric")
    write, asked, said = SAID[name]
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        write(tmp_path / folder / name)
        caplog.clear()
        for _ in range(3):
            load(name, **asked)
        heard = [record.getMessage() for record in caplog.records]
        assert len(heard) == len(said), heard
        assert all(each in line for each, line in zip(said, heard, strict=True)), heard


def test_another_reading_of_a_file_is_told(tmp_path, caplog):
    caplog.set_level("INFO", "fimetric")
    (tmp_path / "t.jsonl").write_text('{"title": "a", "body": "b"}\n')
    for column in ("title", "body", "title"):
        load(tmp_path / "t.jsonl", column=column)
    assert [record.args[1] for record in caplog.records] == ["texts 'title'", "texts 'body'"]


def test_data_in_memory_are_told_of_each_time(caplog):
    caplog.set_level("INFO", "fimetric")
    table = pa.table({"n": [1, 2], "foo": ["a", "b"]})
    for _ in range(2):
        list(batches(table, 2, prepare=lambda texts: torch.zeros(len(texts), 1)))
    said = "the table is read as texts 'foo'; left out: n"
    assert [record.getMessage() for record in caplog.records].count(said) == 2
