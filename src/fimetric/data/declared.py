"""What a Hugging Face data set declares of its columns, and its items do not tell.

An item has nested lists, or int64 arrays, whatever the number format of the column: uint8 is lost,
and with it that the numbers are a picture.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor

from fimetric.data.keys import COMPANIONS, TOKENS


def items_of(data: Any) -> Iterator[Any]:
    """Yield the items of a data set by their index.

    Raises:
        ValueError: where there are fewer than it says.
    """
    for i in range(len(data)):
        try:
            item = data[i]
        except IndexError as error:
            raise ValueError(
                f"{type(data).__name__} says that it holds {len(data)} samples, but has no item "
                f"{i} ({error}); mend its __len__ or __getitem__"
            ) from error
        yield item


def as_declared(items: Iterable[Any], data: Any) -> Iterator[Any]:
    """Yield the items of a data set, with the number formats that it declares.

    Tokens stay as they are: a loss takes int64. Any other data set's items are its own.

    Raises:
        ValueError: naming the item, and the columns of pictures, where one is no picture.
    """
    formats, remaining, i = _formats(data), iter(items), 0
    while True:
        try:
            item = next(remaining)
        except StopIteration:
            return
        except UnidentifiedImageError as error:  # it names an object in memory
            raise ValueError(
                f"item {i} of the {type(data).__name__}{_columns(data)} is damaged or no picture; "
                "repair or remove it"
            ) from error
        if isinstance(item, Mapping):
            yield {k: _cast(v, formats[k]) if k in formats else v for k, v in item.items()}
        else:
            yield _cast(item, formats[""]) if "" in formats else item
        i += 1


def features_of(data: Any) -> dict[str, Any]:
    """Return name -> what is declared of it; of a column alone without a name."""
    if not type(data).__module__.startswith("datasets."):
        return {}
    features = getattr(data, "features", None)
    name = getattr(data, "column_name", None)
    if name is not None:
        features = {"": features.get(name) if isinstance(features, Mapping) else features}
    return dict(features or {})


def _formats(data: Any) -> dict[str, str]:
    """Return name -> number format of the columns that a caller has not formatted himself."""
    source = getattr(data, "source", data)
    asked = getattr(source, "format", None) or {}
    if asked.get("type") == "custom" or "dtype" in asked.get("format_kwargs", {}):
        return {}
    found = {name: _number_format(feature) for name, feature in features_of(data).items()}
    tokens = (TOKENS, *COMPANIONS)
    return {name: kind for name, kind in found.items() if kind and name not in tokens}


def _number_format(feature: Any) -> str | None:
    """Return the number format within nested lists of a feature, None where it is of no numbers."""
    while not isinstance(feature, Mapping) and getattr(feature, "feature", None) is not None:
        feature = feature.feature
    kind = getattr(feature, "dtype", None)
    try:
        return kind if isinstance(kind, str) and np.dtype(kind).kind in "biuf" else None
    except TypeError:  # a text, a picture
        return None


def _cast(value: Any, kind: str) -> Any:
    if isinstance(value, Tensor):
        return value.to(getattr(torch, kind, value.dtype))
    try:
        return np.asarray(value, dtype=kind)
    except (TypeError, ValueError):  # uneven, or with a value missing: told where it is read
        return value


def _columns(data: Any) -> str:
    found = [n for n, f in features_of(data).items() if n and type(f).__name__ == "Image"]
    return f", column {' or '.join(map(repr, found))}," if found else ""
