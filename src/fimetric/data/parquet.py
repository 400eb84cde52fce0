"""Pictures in parquet files, read a few rows at a time."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from fimetric.data import images
from fimetric.data.images import Size
from fimetric.data.keys import ALONE, data_key
from fimetric.data.names import printable
from fimetric.data.samples import Samples

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

ROWS = 64  # read at a time
MOST_UNPACKED, MOST_RATIO = 256 * 2**20, 100  # of a column in a row group; pictures hardly shrink
OTHERS = {
    "text": "tokenise it yourself and pass the tokens",
    "audio": "decode it yourself and pass an array of one length",
}


def from_parquet(
    files: Sequence[Path], name: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    """Return the pictures of parquet files, in their order, as one data set.

    Raises:
        ValueError: for damaged or empty files, without pictures, or with a column that unpacks to
            more than ``MOST_UNPACKED`` bytes and ``MOST_RATIO`` times its size in the file.
    """
    ids: list[str] = []

    def named() -> Iterator[tuple[str, Image.Image]]:
        for where, row, column in itertools.islice(_rows(files), limit):
            ids.append(printable(_id(row, column) or f"{name}/{len(ids)}"))
            yield where, _picture(row[column], where)

    pictures = named()
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{printable(files[0])} has no rows")
    return Samples(images.stack(itertools.chain([first], pictures), size, channels), ids, name)


def picture_column(columns: Sequence[str], where: str) -> str:
    """Return the column that holds the pictures.

    Raises:
        ValueError: where there is none, or several could be.
    """
    if any(name in columns for name in ALONE):
        return data_key([name for name in columns if name in ALONE], where)
    for name, advice in OTHERS.items():
        if name in columns:
            raise ValueError(
                f"{where} has a column {name!r}, and load reads images only; {advice}, "
                "or an iterable of batches, in place of the name"
            )
    raise ValueError(f"{where} has no column 'image'; it has {', '.join(columns)}")


def _rows(files: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield where a row is, the row, and the name of its picture's column.

    Raises:
        ValueError: for a file that is damaged or no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        where = printable(path)
        try:
            with pq.ParquetFile(path) as file:
                columns = file.schema_arrow.names
                column = picture_column(columns, where)
                # a cell may be the whole of its group, and repeated cells are stored once
                most = MOST_UNPACKED // max(_largest(file, column, where), 1)
                wanted = [key for key in (column, "id") if key in columns]
                parts = file.iter_batches(min(max(most, 1), ROWS), columns=wanted)
                rows = itertools.chain.from_iterable(part.to_pylist() for part in parts)
                for i, row in enumerate(rows):
                    yield f"{where}, row {i}, column {column!r}", row, column
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{where} is damaged or no parquet file ({error}); copy it again"
            ) from error


def _largest(file: "ParquetFile", column: str, where: str) -> int:
    """Return the bytes that are read of the largest row group.

    Raises:
        ValueError: where they are far more than what is stored of them.
    """
    largest = 0
    for i in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(i)
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.split(".")[0] not in (column, "id"):
                continue
            size, stored = chunk.total_uncompressed_size, max(chunk.total_compressed_size, 1)
            largest = max(largest, size)
            if size > MOST_UNPACKED and size > MOST_RATIO * stored:
                raise ValueError(
                    f"{where}: {stored} bytes of column {column!r} unpack to {size}; that is no "
                    f"store of pictures, and is not read (the limits are {MOST_UNPACKED} bytes and "
                    f"{MOST_RATIO} times the size)"
                )
    return largest


def _id(row: dict[str, Any], column: str) -> str | None:
    if row.get("id") is not None:
        return str(row["id"])
    cell = row[column]
    return cell.get("path") if isinstance(cell, dict) else None


def _picture(cell: Any, where: str) -> Image.Image:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise ValueError(
            f"{where} holds no bytes of a picture; pass numbers as a .npy file, or as the data set "
            "that datasets.load_dataset returns"
        )
    return images.decode(data, where)
