"""Sounds in a Hugging Face data set in memory, decoded as those in files are."""

from collections.abc import Mapping
from typing import Any

from fimetric.data.asked import Asked
from fimetric.data.declared import features_of
from fimetric.data.hub import read
from fimetric.data.keys import SOUND_NAME
from fimetric.data.samples import Samples
from fimetric.data.sounds import is_sound


def holds_sounds(data: Any) -> bool:
    """Return whether data are such a set, or a column of one, that holds sounds."""
    return bool(_columns(data))


def opened(data: Any, condition: str | None) -> Samples:
    """Return the sounds of a data set as ``Clips``, at the rate that their column declares.

    Arguments:
        data: a data set, or its column of sounds.
        condition: the column that a loss is told, if any.

    Raises:
        TypeError: for a stream, whose rows are not held.
        ValueError: for several columns of sounds, and whatever ``load`` refuses in files.
    """
    names = _columns(data)
    name = SOUND_NAME if SOUND_NAME in names else names[0]
    if name != SOUND_NAME and len(names) > 1:
        raise ValueError(
            f"the data set has several columns of sounds, {', '.join(names)}; leave all but one "
            "out, by data.select_columns"
        )
    table = _whole(data)
    if not hasattr(table, "__len__"):
        raise TypeError(
            f"the {type(table).__name__} streams sounds in {name!r}, which are not decoded here; "
            "give a Dataset, as load_dataset(..., streaming=False) returns"
        )
    rate = getattr(table.features[name], "sampling_rate", None)
    return read(table, "data", Asked(column=name, rate=rate, condition=condition))


def undecoded(data: Any) -> Any:
    """Return a data set whose sounds stay files, for who reads its texts alone."""
    import datasets

    for name in _columns(data):
        if isinstance(data.features[name], datasets.Audio):
            data = data.cast_column(name, datasets.Audio(decode=False))
    return data


def _whole(data: Any) -> Any:
    """Return the data set of a column, with it alone."""
    name = getattr(data, "column_name", None)
    return data if name is None else data.source.select_columns([name])


def _columns(data: Any) -> list[str]:
    """Return the names of the columns of sounds; none where a caller's own format makes them."""
    if not type(data).__module__.startswith("datasets."):
        return []
    table = _whole(data)
    asked = getattr(table, "format", None) or {}
    features = features_of(table)
    if asked.get("type") == "custom":
        return []
    stated = [n for n, feature in features.items() if type(feature).__name__ == "Audio"]
    files = [n for n, f in features.items() if isinstance(f, Mapping) and "bytes" in f]
    return [*stated, *(name for name in files if _begins_with_sound(table, name))]


def _begins_with_sound(table: Any, name: str) -> bool:
    first = next(iter(table.select_columns([name]).with_format(None)), {name: None})[name]
    return is_sound((first or {}).get("bytes") or b"")
