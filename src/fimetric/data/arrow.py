"""Columns of arrow, as parquet files and Hugging Face data sets have them, read part by part."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fimetric.data.clips import Clips, told
from fimetric.data.columns import FILES, NUMBER, PICTURE, SOUND, TEXT, Columns, Header
from fimetric.data.keys import ALONE, SOUND_NAME
from fimetric.data.names import called
from fimetric.data.records import text
from fimetric.data.samples import Samples
from fimetric.data.sounds import Sound, is_sound, sound
from fimetric.data.texts import Texts

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """Some rows of a table, one after the other.

    Arguments:
        where: the file or set that they are of.
        start: the number of the first of them in it.
        rows: of arrow.
    """

    where: str
    start: int
    rows: "pa.RecordBatch | pa.Table"


def header(schema: "pa.Schema", where: str, condition: str | None = None) -> Header:
    """Return what kinds of columns a table has, by their types and names."""
    stated = _stated(schema)
    kinds = {field.name: _kind(field, stated.get(field.name)) for field in schema}
    return Header(where, kinds, condition=condition)


def told_apart(chosen: Columns, part: Part) -> Columns:
    """Return the columns, with files of a kind that no name tells as what their first one is."""
    if chosen.kind != FILES or not part.rows.num_rows:
        return chosen
    cell = part.rows.column(chosen.data[0])[0].as_py()
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return replace(chosen, kind=SOUND if is_sound(data or b"") else PICTURE)


def collected(
    parts: Iterable[Part], chosen: Columns, name: str, rate: int | None, file: str | None = None
) -> Samples:
    """Return the texts, sounds or rows of numbers of a table as a data set.

    Arguments:
        parts: of the table.
        chosen: its columns.
        name: of the data set.
        rate: that sounds are resampled to; their own if None.
        file: the first of those that it is read from, if any.

    Raises:
        ValueError: for no rows, or a value that is missing, damaged or of another kind, naming row
            and column.
    """
    ids: list[str] = []
    kept: dict[str, list[Any]] = {key: [] for key in chosen.kept}
    found = _Gathered(chosen)
    for part in parts:
        named = found.take(part)
        own = named if chosen.ids is None else part.rows.column(chosen.ids).to_pylist()
        for own_id in own:
            ids.append(called(own_id, name, len(ids)))
        for key, values in kept.items():
            values.extend(part.rows.column(key).to_pylist())
    if not ids:
        raise ValueError(f"{name} has no rows")
    if chosen.kind == SOUND:
        return told(Clips(found.sounds, ids, name, kept=kept, rate=rate), file)
    if chosen.kind == TEXT:
        return Texts(found.texts, ids, name, kept=kept)
    table = torch.from_numpy(np.concatenate(found.numbers))
    return Samples(table, ids, name, kept=kept, columns=chosen.data)


class _Gathered:
    """What is read of the columns of data so far."""

    def __init__(self, chosen: Columns) -> None:
        self.chosen = chosen
        self.texts: list[str] = []
        self.sounds: list[Sound] = []
        self.numbers: list[np.ndarray] = []

    def take(self, part: Part) -> Sequence[str | None]:
        """Keep the data of some rows, and return the names that they come with."""
        if self.chosen.kind == NUMBER:
            columns = [_numbers(part, column) for column in self.chosen.data]
            self.numbers.append(np.stack(columns, 1))
            return [None] * part.rows.num_rows
        column = self.chosen.data[0]
        if self.chosen.kind == TEXT:
            self.texts += [text(cell, where, column) for where, cell in _cells(part, column)]
            return [None] * part.rows.num_rows
        cells = [(f"{where}, column {column!r}", cell) for where, cell in _cells(part, column)]
        self.sounds += [sound(bytes_of(cell, where, "sound"), where) for where, cell in cells]
        return [cell.get("path") if isinstance(cell, dict) else None for _, cell in cells]


def bytes_of(cell: Any, where: str, what: str) -> bytes:
    """Return the bytes of a file in a cell.

    Raises:
        ValueError: where it holds none.
    """
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise ValueError(
            f"{where} holds no bytes of a {what}; pass numbers as a .npy file, or as the data set "
            "that datasets.load_dataset returns"
        )
    return data


def _cells(part: Part, column: str) -> Iterator[tuple[str, Any]]:
    """Yield where a cell is, and what it holds.

    Raises:
        ValueError: naming the row of one that is no text in UTF-8.
    """
    for i, cell in enumerate(part.rows.column(column), part.start):
        where = f"{part.where}, row {i}"
        try:
            yield where, cell.as_py()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where}, column {column!r} holds no text in UTF-8; write it anew"
            ) from error


def _numbers(part: Part, name: str) -> np.ndarray:
    """Return a column of numbers, (n,), float32 where that holds what its type can, or float64.

    Raises:
        ValueError: naming the first row without a finite number.
    """
    cells = part.rows.column(name)
    missing = cells.is_null().to_numpy(zero_copy_only=False)
    found = cells.to_numpy(zero_copy_only=False) if not missing.any() else None
    wrong = missing if found is None else ~np.isfinite(found.astype(np.float64))
    if wrong.any() or found is None:
        row = int(wrong.argmax())
        value = cells[row].as_py()
        said = "has no value" if value is None or value != value else f"holds {value}"  # noqa: PLR0124
        raise ValueError(
            f"{part.where}, row {part.start + row}, column {name!r} {said}; fill it, or leave the "
            "row out"
        )
    kind = found.dtype if found.dtype.kind in "fiub" else np.float64
    return found.astype(np.result_type(np.float32, kind))


def _stated(schema: "pa.Schema") -> dict[str, str]:
    """Return name -> kind of feature, as a Hugging Face data set has written it into a file."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: str(feature.get("_type")) for name, feature in said.items()}
    except (KeyError, ValueError, TypeError, AttributeError):  # of no such data set
        return {}


def _kind(field: "pa.Field", stated: str | None) -> str:
    from pyarrow import types

    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return NUMBER
    if field.name in ALONE or stated == "Image":
        return PICTURE
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return TEXT
    parts = [kind.field(i).name for i in range(kind.num_fields)] if types.is_struct(kind) else []
    if not (types.is_binary(kind) or types.is_large_binary(kind) or "bytes" in parts):
        return str(kind)
    return SOUND if field.name == SOUND_NAME or stated == "Audio" else FILES
