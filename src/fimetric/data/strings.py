"""Texts in memory, whatever holds them: one by one, with their names and what is kept beside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fimetric.data.columns import NUMBER, TEXT, Header
from fimetric.data.keys import ALONE, ARGUMENTS, COMPANIONS, IDS, LABELS, TOLD
from fimetric.data.names import printable
from fimetric.data.prepared import refuse_no_text

ALONE_ADVICE = "pass that column alone, as data[{!r}]"


@dataclass(frozen=True)
class String:
    """A text, its name where it has one, and what is kept beside it."""

    text: str
    name: str | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)


def are_texts(items: Sequence[Any], condition: str | None = None) -> bool:
    """Return whether the items of a list are texts, or dictionaries or pairs with a text."""
    return any(isinstance(item, str) for item in items) or (
        bool(items) and holds_text(items[0], False, condition)
    )


def holds_text(item: Any, single: bool, condition: str | None = None) -> bool:
    """Return whether an item of some data is a text, or holds one or several as its data.

    Arguments:
        item: what is yielded.
        single: whether it is one sample, and a list thus a pair (x, y).
        condition: the entry of a dictionary that a loss is told, if any.

    Raises:
        ValueError: for a dictionary with several entries of texts.
    """
    if isinstance(item, Mapping):
        return text_entry(item, condition) is not None
    found = _of_pair(item, single)
    return isinstance(found, str) or _are_strings(found)


def strings(
    items: Iterable[Any], single: bool, what: str, condition: str | None = None
) -> Iterator[String]:
    """Yield the texts of some items, one by one.

    Arguments:
        items: texts, lists of them, pairs (text, y), or dictionaries with a text or a list of them.
        single: whether each is one sample.
        what: holds them, for messages.
        condition: the entry of a dictionary that a loss is told, if any.

    Raises:
        TypeError: naming what is no text among texts.
        ValueError: naming an empty text.
    """
    number, column = 0, None
    for i, item in enumerate(items):
        if i == 0 and isinstance(item, Mapping):
            column = text_entry(item, condition)
            if column is not None:
                _header(item, condition).texts_of(column)
        for each in _of_item(item, single, column, condition):
            refuse_no_text(each.text, f"element {number} of the {what}")
            number += 1
            yield each


def text_entry(item: Mapping[Any, Any], condition: str | None = None) -> str | None:
    """Return the entry of a dictionary that holds its texts; None where they are not its data.

    Raises:
        ValueError: where several could be.
    """
    known = [name for name in (*ALONE, *ARGUMENTS, *COMPANIONS) if name in item]
    if known:
        return "x" if known == ["x"] and _texts(item["x"]) else None
    return _header(item, condition).text()


def _header(item: Mapping[Any, Any], condition: str | None) -> Header:
    kinds = {str(name): TEXT if _texts(value) else NUMBER for name, value in item.items()}
    return Header("the data", kinds, advice=ALONE_ADVICE, condition=condition, texts=True)


def _of_item(
    item: Any, single: bool, column: str | None, condition: str | None
) -> Iterator[String]:
    """Yield the texts of one item; what is none as it is."""
    if isinstance(item, Mapping) and column is not None:
        yield from _of_columns(item, column, condition)
        return
    x = item if column is not None else _of_pair(item, single)
    for text in _values(x) if _is_row(x) and column is None else [x]:
        yield String(text)


def _of_columns(item: Mapping[str, Any], column: str, condition: str | None) -> Iterator[String]:
    """Yield the texts of a dictionary with one text, or with columns of as many values each."""
    several = _is_row(item.get(column))

    def values(name: str) -> list[Any]:
        return _values(item[name]) if several else [item[name]]

    texts = values(column) if column in item else [None]
    told = [n for n in TOLD if n in item and _texts(item[n])]
    beside = [n for n in item if n != column and n in (*LABELS, *told, condition)]
    kept = {n: values(n) for n in beside if not several or len(item[n]) == len(texts)}
    own = next((name for name in IDS if name in item and name != column), None)
    names = None if own is None else values(own)
    for i, text in enumerate(texts):
        name = None if names is None else printable(_plain(names[i]))
        yield String(text, name, {key: _plain(each[i]) for key, each in kept.items()})


def _values(row: Any) -> list[Any]:
    return row.tolist() if isinstance(row, np.ndarray) else list(row)


def _plain(value: Any) -> Any:
    """Return a number of torch or numpy as one of Python."""
    return value.item() if getattr(value, "shape", None) == () else value


def _of_pair(item: Any, single: bool) -> Any:
    """Return x of a pair (x, y); a list of texts is a batch of them where it is no sample."""
    pair = isinstance(item, tuple) or (isinstance(item, list) and (single or _holds_rows(item)))
    return item[0] if pair and item else item


def _holds_rows(item: Sequence[Any]) -> bool:
    return bool(item) and _is_row(item[0])


def _texts(value: Any) -> bool:
    return isinstance(value, str) or _are_strings(value)


def _are_strings(value: Any) -> bool:
    """Return whether a value is a list, array or column that begins with a text."""
    return _is_row(value) and len(value) > 0 and isinstance(next(iter(value)), str)


def _is_row(value: Any) -> bool:
    column = isinstance(value, np.ndarray) and value.ndim == 1
    return column or isinstance(value, list | tuple) or type(value).__name__ in ("Series", "Column")
