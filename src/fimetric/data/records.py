"""Rows of text or numbers in .csv, .tsv and .jsonl files, read one by one."""

import csv
import itertools
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch

from fimetric.data.asked import Asked
from fimetric.data.columns import NUMBER, TEXT, Columns, Header
from fimetric.data.keys import TEXT_NAMES
from fimetric.data.lines import LONGEST, lines
from fimetric.data.names import called, printable
from fimetric.data.samples import Samples
from fimetric.data.texts import Texts

HEAD = 1000  # rows by which it is told which columns hold numbers
EMPTY = "no values"
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (".jsonl", *DELIMITERS)
Row = tuple[str, Mapping[str, Any]]  # where it is, and its cells


def from_records(files: Sequence[Path], name: str, asked: Asked) -> Samples:
    """Return the texts, or the rows of numbers, of some files as one data set.

    Memory grows with what is kept of them alone.

    Raises:
        ValueError: for a damaged or empty file, rows of several lengths, a missing value, or where
            it cannot be told what the data are; naming file, row and column.
    """
    asked.refuse_others("column", f"{name}, which holds rows of text or numbers")
    with _long_fields():
        rows = itertools.islice(_rows(files), asked.limit)
        head = list(itertools.islice(rows, HEAD))
        where = printable(files[0])
        if not head:
            raise ValueError(f"{where} has no rows")
        chosen = _header(head, where, asked.condition).choose(asked.column).tell(where, where)
        return _collected(itertools.chain(head, rows), chosen, name)


def _collected(rows: Iterator[Row], chosen: Columns, name: str) -> Samples:
    texts: list[str] = []
    numbers = array("d")
    ids: list[str] = []
    kept: dict[str, list[Any]] = {key: [] for key in chosen.kept}
    for where, row in rows:
        own = row.get(chosen.ids) if chosen.ids is not None else None
        ids.append(called(own, name, len(ids)))
        for key, values in kept.items():
            values.append(row.get(key))
        if chosen.kind == TEXT:
            texts.append(text(row.get(chosen.data[0]), where, chosen.data[0]))
        else:
            numbers.extend([_number(row.get(column), where, column) for column in chosen.data])
    kept = {key: _whole_numbers(values) for key, values in kept.items()}
    if chosen.kind == TEXT:
        return Texts(texts, ids, name, kept=kept)
    table = torch.frombuffer(numbers, dtype=torch.float64).reshape(len(ids), -1)
    return Samples(table, ids, name, kept=kept, columns=chosen.data)


def text(cell: Any, where: str, column: str) -> str:
    """Return the text in a cell.

    Raises:
        ValueError: where it is missing, empty, or something else.
    """
    if cell is not None and not isinstance(cell, str):
        raise ValueError(
            f"{where}, column {column!r} holds {type(cell).__name__}, no text; leave the row out"
        )
    if cell is None or not cell.strip():
        raise ValueError(f"{where}, column {column!r} holds no text; fill it, or leave the row out")
    return cell


def _number(cell: Any, where: str, column: str) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: where it is missing, not finite, or something else.
    """
    try:
        found = math.nan if cell is None else float(cell)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if math.isfinite(found) and not (isinstance(cell, str) and "_" in cell):
        return found
    if _is_missing(cell):
        raise ValueError(
            f"{where}, column {column!r} has no value ({cell!r}); fill it, or leave the row out"
        )
    raise ValueError(
        f"{where}, column {column!r} holds {str(cell)[:40]!r}, where the rows before hold numbers; "
        "mend it, or leave the row or the column out"
    )


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING)


def _whole_numbers(values: list[Any]) -> list[Any]:
    """Return the cells of a column beside the data, as numbers where all of them are whole."""
    try:
        return [int(value) if isinstance(value, str) else value for value in values]
    except ValueError:
        return values


def _header(head: Sequence[Row], where: str, condition: str | None) -> Header:
    kinds: dict[str, str] = {}
    examples: dict[str, str] = {}
    for place, row in head:
        for name, cell in row.items():
            kind = None if _is_missing(cell) else _kind(cell)
            if kind == TEXT and name not in examples:
                examples[name] = f" ({str(cell)[:40]!r} in {place})"
            if kind is not None and (kinds.get(name) != TEXT or name not in examples):
                kinds[name] = kind
            kinds.setdefault(name, TEXT if name in TEXT_NAMES else EMPTY)
    return Header(where, kinds, examples, condition=condition)


def _kind(cell: Any) -> str:
    if isinstance(cell, list | dict):
        return "lists or objects"
    try:
        float(cell)
    except ValueError:
        return TEXT
    return TEXT if isinstance(cell, str) and "_" in cell else NUMBER


def _rows(files: Sequence[Path]) -> Iterator[Row]:
    first: list[str] | None = None
    for path in files:
        if path.suffix.lower() == ".jsonl":
            yield from _objects(path)
            continue
        names, rows = _separated(path, DELIMITERS[path.suffix.lower()])
        first = first or names
        if names != first:
            raise ValueError(
                f"{printable(path)} has the columns {', '.join(names)}, and {printable(files[0])} "
                f"has {', '.join(first)}; bring them to one order"
            )
        yield from rows


def _objects(path: Path) -> Iterator[Row]:
    """Yield the objects of a .jsonl file.

    Raises:
        ValueError: naming the line of what is none.
    """
    rows = 0
    for number, line in lines(path):
        if not line.strip():
            continue
        where = f"{printable(path)}, line {number}"
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(
                f"{where} is no valid JSON ({error}); write one object a line"
            ) from error
        if not isinstance(found, dict):
            raise ValueError(
                f"{where} is a {type(found).__name__}; write one object a line, such as "
                '{"text": "..."}'
            )
        yield f"{printable(path)}, row {rows} (line {number})", found
        rows += 1


def _separated(path: Path, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    """Return the names of columns of a .csv or .tsv file, and its rows.

    Raises:
        ValueError: for a file without names of columns.
    """
    where = printable(path)
    reader = csv.reader((line for _, line in lines(path)), delimiter=delimiter, strict=True)
    names = next(_filled(reader, where), None)
    if names is None:
        raise ValueError(f"{where} is empty")
    _refuse_no_names(names, where)

    def rows() -> Iterator[Row]:
        for i, cells in enumerate(_filled(reader, where)):
            place = f"{where}, row {i} (line {reader.line_num})"
            if len(cells) != len(names):
                raise ValueError(
                    f"{place} has {len(cells)} fields, and the first line names {len(names)} "
                    "columns; put texts with separators or ends of lines in quotes"
                )
            yield place, dict(zip(names, cells, strict=True))

    return names, rows()


def _filled(reader: Any, where: str) -> Iterator[list[str]]:
    """Yield the rows of a file that are no empty lines.

    Raises:
        ValueError: naming the line where quotes are wrong or a field is too long.
    """
    try:
        yield from (cells for cells in reader if cells)
    except csv.Error as error:
        raise ValueError(
            f"{where}, line {reader.line_num} is damaged ({error}); mend its quotes"
        ) from error


def _refuse_no_names(names: Sequence[str], where: str) -> None:
    """Refuse a first line that names no columns.

    Raises:
        ValueError: saying what it holds instead.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{where} has two columns {twice!r}; rename one")
    if all(_kind(name) == NUMBER for name in names):
        raise ValueError(
            f"{where} begins with a line of numbers; put a first line with the names of the columns"
        )
    other = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    if other is not None:
        raise ValueError(
            f"{where} has the one column {names[0][:60]!r}, which looks like several separated by "
            f"{other!r}; separate them by commas, or by tabs in a .tsv file"
        )


@contextmanager
def _long_fields() -> Iterator[None]:
    """Read fields of any length: csv knows but one limit, of 131,072 letters by default."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
