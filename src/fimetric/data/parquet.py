"""Parquet files: pictures, sounds, texts or rows of numbers, read a few rows at a time."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from fimetric.data import images
from fimetric.data.arrow import Part, bytes_of, collected, header, told_apart
from fimetric.data.asked import Asked
from fimetric.data.columns import NUMBER, PICTURE, SOUND, Columns
from fimetric.data.names import called, printable
from fimetric.data.samples import Samples

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

ROWS, ROWS_OF_NUMBERS = 64, 1 << 14  # read at a time
MOST_UNPACKED, MOST_RATIO = 256 * 2**20, 100  # of a column in a row group; pictures hardly shrink
TAKES = {PICTURE: "column size channels", SOUND: "column rate", NUMBER: ""}
Read = tuple[Part, Columns]


def from_parquet(files: Sequence[Path], name: str, asked: Asked) -> Samples:
    """Return the samples of parquet files, in their order, as one data set.

    Raises:
        ValueError: for damaged or empty files, where it cannot be told what the data are, or with a
            column that unpacks to more than ``MOST_UNPACKED`` bytes and ``MOST_RATIO`` times its
            size in the file.
    """
    parts = _parts(files, asked)
    first = next(parts, None)
    where = printable(files[0])
    if first is None:
        raise ValueError(f"{where} has no rows")
    chosen = first[1].tell(where, where)
    asked.refuse_others(TAKES.get(chosen.kind, "column"), f"{name}, which holds {chosen.kind}")
    parts = itertools.chain([first], parts)
    if chosen.kind == PICTURE:
        return _pictures(_of_parts(parts), chosen, name, asked)
    return collected(_limited(parts, asked.limit), chosen, name, asked.rate, where)


def _pictures(
    rows: Iterable[tuple[str, dict[str, Any]]], chosen: Columns, name: str, asked: Asked
) -> Samples:
    ids: list[str] = []
    kept: dict[str, list[Any]] = {key: [] for key in chosen.kept}
    [column] = chosen.data

    def named() -> Iterator[tuple[str, Image.Image]]:
        for where, row in itertools.islice(rows, asked.limit):
            cell = row[column]
            path = cell.get("path") if isinstance(cell, dict) else None
            own = None if chosen.ids is None else row[chosen.ids]
            own = path if own is None else str(own)
            ids.append(called(own, name, len(ids)))
            for key, values in kept.items():
                values.append(row[key])
            place = f"{where}, column {column!r}"
            yield place, images.decode(bytes_of(cell, place, "picture"), place)

    stacked = images.stack(named(), asked.size, asked.channels)
    return Samples(stacked, ids, name, kept=kept)


def _of_parts(parts: Iterable[Read]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part, _ in parts:
        for i, row in enumerate(part.rows.to_pylist(), part.start):
            yield f"{part.where}, row {i}", row


def _limited(parts: Iterable[Read], limit: int | None) -> Iterator[Part]:
    """Yield parts, of which the last ends where so many rows are reached."""
    left = limit
    for part, _ in parts:
        if left is None or part.rows.num_rows < left:
            left = None if left is None else left - part.rows.num_rows
            yield part
        else:
            yield Part(part.where, part.start, part.rows.slice(0, left))
            return


def _parts(files: Sequence[Path], asked: Asked) -> Iterator[Read]:
    """Yield some rows after the other, with their columns, those that are read.

    Raises:
        ValueError: for a file that is damaged, no parquet file, or of other columns than the first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    first: Columns | None = None
    for path in files:
        where = printable(path)
        try:
            with pq.ParquetFile(path) as file:
                chosen = header(file.schema_arrow, where, asked.condition).choose(asked.column)
                for part in _of_file(file, chosen, where):
                    found = told_apart(chosen, part)
                    first = first or found
                    _refuse_others(found, first, where)
                    yield part, found
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{where} is damaged or no parquet file ({error}); copy it again"
            ) from error


def _of_file(file: "ParquetFile", chosen: Columns, where: str) -> Iterator[Part]:
    """Yield the rows of a file in parts; a cell that is no number may be the whole of its group."""
    largest, start = _largest(file, chosen.read, where), 0
    most = ROWS_OF_NUMBERS if chosen.kind == NUMBER else ROWS
    fitting = MOST_UNPACKED // max(largest, 1)  # repeated cells are stored once
    for rows in file.iter_batches(min(max(fitting, 1), most), columns=chosen.read):
        yield Part(where, start, rows)
        start += rows.num_rows


def _refuse_others(found: Columns, first: Columns, where: str) -> None:
    """Refuse files of other columns than the first.

    Raises:
        ValueError: naming the file.
    """
    if replace(found, left=()) != replace(first, left=()):
        raise ValueError(
            f"{where} holds {found.kind} in {', '.join(found.data)}, the first file holds "
            f"{first.kind} in {', '.join(first.data)}, with {first.ids or 'no id'} and "
            f"{', '.join(first.kept) or 'no labels'}; bring them to the same columns"
        )


def _largest(file: "ParquetFile", columns: Sequence[str], where: str) -> int:
    """Return the bytes that are read of the largest column of a row group.

    Raises:
        ValueError: where they are far more than what is stored of them.
    """
    largest = 0
    for i in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(i)
        for chunk in map(group.column, range(group.num_columns)):
            column = chunk.path_in_schema.split(".")[0]
            if column not in columns:
                continue
            size, stored = chunk.total_uncompressed_size, max(chunk.total_compressed_size, 1)
            largest = max(largest, size)
            if size > MOST_UNPACKED and size > MOST_RATIO * stored:
                raise ValueError(
                    f"{where}: {stored} bytes of column {column!r} unpack to {size}; that is no "
                    f"store of samples, and is not read (the limits are {MOST_UNPACKED} bytes and "
                    f"{MOST_RATIO} times the size)"
                )
    return largest
