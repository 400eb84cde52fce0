"""Tables of pandas and arrow: rows of numbers, (N, columns), or a column of texts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from fimetric.data.batch import Batch
from fimetric.data.columns import NUMBER, TEXT, Header
from fimetric.data.keys import ALONE, ARGUMENTS, IDS, LABELS, TOLD
from fimetric.data.names import printable
from fimetric.data.prepared import refuse_no_text
from fimetric.data.strings import String
from fimetric.data.values import TOKENISE, leaf, shape_of

HEAD = 1000  # rows by which it is told which columns hold texts

if TYPE_CHECKING:
    from pandas import DataFrame, Series


def is_table(data: Any) -> bool:
    """Return whether data are a table or column of pandas, or what arrow can read as one."""
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def are_rows_of_numbers(data: Any, condition: str | None) -> bool:
    """Return whether a data set of Hugging Face is a table: all its columns of data are numbers."""
    kind = type(data)
    if not kind.__module__.startswith("datasets.") or kind.__name__ != "Dataset":
        return False  # streams stay streams
    if data.format["type"] == "custom":
        return False  # a transform makes something else of the columns
    beside = (*LABELS, *IDS, condition)
    names = [name for name in data.format["columns"] if name not in beside]
    kinds = {name: str(getattr(data.features[name], "dtype", "")) for name in names}
    plain = all(kind.startswith(("int", "uint", "float", "bool")) for kind in kinds.values())
    return plain and len(kinds) > 1 and not any(name in ARGUMENTS for name in kinds)


def texts(found: "DataFrame | Series", condition: str | None) -> Iterator[String] | None:
    """Yield the texts of a column, or of that column of a table; None where there are none.

    Arguments:
        found: a table or column.
        condition: the column that a loss is told, if any.

    Raises:
        ValueError: where several columns could be the texts, or one is empty.
        TypeError: naming a row without a text.
    """
    if found.ndim == 1:
        named = len(found) > 0 and isinstance(found.iloc[0], str)
        return _strings(found.to_frame(name="text"), "text", None) if named else None
    frame = found.set_axis([str(name) for name in found.columns], axis=1)
    kinds = {name: _holds(frame.iloc[:, i]) for i, name in enumerate(frame.columns)}
    others = [n for n in ALONE if n in frame and frame[n].dtype.kind not in "iufb"]
    if others and not (others == ["x"] and kinds["x"] == TEXT):
        return None  # pictures
    advice = "pass that column alone, as table[{!r}]"
    header = Header("the table", kinds, advice=advice, condition=condition, texts=True)
    column = "x" if others else header.text()
    return None if column is None else _strings(frame, header.texts_of(column), condition)


def _holds(column: "Series") -> str:
    return TEXT if any(isinstance(x, str) for x in column.iloc[:HEAD]) else NUMBER


def _strings(frame: "DataFrame", column: str, condition: str | None) -> Iterator[String]:
    own = next((frame[key] for key in IDS if key in frame and key != column), frame.index)
    beside = [name for name in frame if name in (*LABELS, *TOLD, condition) and name != column]
    kept = {name: frame[name].tolist() for name in beside}
    for i, (name, text) in enumerate(zip(own, frame[column], strict=True)):
        refuse_no_text(text, f"row {i} (index {frame.index[i]}) of column {column!r}")
        yield String(text, printable(name), {key: values[i] for key, values in kept.items()})


def opened(found: "DataFrame | Series") -> "DataFrame | list[dict[str, Any]]":
    """Return a table of numbers, or the samples of a column that holds an array in each row.

    Raises:
        TypeError: for a column of something else.
    """
    if found.ndim == 2:
        return found
    if found.dtype.kind != "O":
        return found.to_frame(name="x" if found.name is None else found.name)
    for i, value in zip(found.index, found, strict=True):
        if not (shape_of(value) or isinstance(value, Image.Image)):
            text = f"; {TOKENISE}" if isinstance(leaf(value), str) else ""
            raise TypeError(
                f"row {i} of the column holds {type(value).__name__}, no number and no array{text}"
            )
    return [{"x": x, "id": str(i)} for i, x in zip(found.index, found, strict=True)]


def as_pandas(data: Any) -> "DataFrame | Series":
    """Return a table or column of pandas or arrow as one of pandas."""
    if type(data).__module__.split(".")[0] == "pandas":
        return data
    import pyarrow as pa

    return (data if hasattr(data, "to_pandas") else pa.table(data)).to_pandas()


def rows(frame: "DataFrame", size: int, condition: str | None = None) -> Iterator[Batch]:
    """Yield the rows of a table in portions, float (N, columns) in the order of the columns.

    Labels and ``condition`` are kept beside them; a column ``id`` or ``path``, or else the index,
    names the rows. 32 bits are taken where they hold the numbers, otherwise 64.

    Raises:
        TypeError: naming a column that does not hold numbers, or where there are not two columns:
            that may be one sample as well.
        ValueError: naming the row and column of a missing value.
    """
    names = [str(name) for name in frame.columns]
    beside = (*LABELS, condition)
    kept = [k for k, name in enumerate(names) if name not in (*beside, *IDS)]
    kinds = [_kind(frame.iloc[:, k], names[k]) for k in kept]
    if len(kept) < 2:
        raise TypeError(
            f"the table has the columns {', '.join(names) or 'none'}, so one column of numbers or "
            "none; where its rows are samples of one number each, pass an array of shape (N, 1)"
        )
    own = next((frame.iloc[:, names.index(key)] for key in IDS if key in names), frame.index)
    ids = [printable(name) for name in own]
    kind = np.result_type(np.float32, *kinds)
    columns = tuple(names[k] for k in kept)
    labels = {n: frame.iloc[:, k].tolist() for k, n in enumerate(names) if n in beside}
    for start in range(0, len(frame), size):
        part = frame.iloc[start : start + size, kept]
        values = np.stack([part.iloc[:, j].to_numpy(dtype=kind) for j in range(len(kept))], axis=1)
        rows = slice(start, start + size)
        own_labels = {name: values[rows] for name, values in labels.items()}
        yield Batch(torch.from_numpy(values), ids[rows], columns, kept=own_labels)


def _kind(column: "Series", name: str) -> np.dtype:
    """Return the numpy type of a column of numbers, none missing.

    Raises:
        TypeError: for a column of anything but numbers.
        ValueError: naming the first row without a value.
    """
    if column.dtype.kind not in "iufb":
        first = next(iter(column), None)
        text = f", or {TOKENISE}" if isinstance(first, str) else ""
        raise TypeError(
            f"column {name!r} holds {column.dtype} ({type(first).__name__}), no numbers; drop it, "
            f"or make numbers of it{text}"
        )
    missing = column.isna().to_numpy()
    if missing.any():
        row = int(missing.argmax())
        raise ValueError(
            f"column {name!r} has no value in row {row} (index {column.index[row]}), and in "
            f"{int(missing.sum())} rows in all; fill them, or leave the rows out by dropna()"
        )
    return np.dtype(getattr(column.dtype, "numpy_dtype", column.dtype))
