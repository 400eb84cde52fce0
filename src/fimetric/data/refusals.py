"""What is no data, said in words that tell what to give instead."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fimetric.data.keys import IDS, LABELS
from fimetric.data.splits import split_named
from fimetric.data.values import plain


def refuse_foreign(data: Any) -> None:
    """Refuse what cannot be read as data at all.

    Raises:
        TypeError: for names, sets, single pictures or numbers, sparse or uncountable data, and
            splits.
    """
    kind = type(data).__name__
    if isinstance(data, str | bytes | PurePath):
        raise TypeError(
            f"{str(data)[:80]!r} is a {kind}; open a file or named set by fimetric.data.load; a "
            "text alone is one sample: pass [text], to an objective with a tokenizer"
        )
    if isinstance(data, set | frozenset):
        raise TypeError(f"a {kind} has no order; give a list")
    if isinstance(data, Image.Image):
        raise TypeError("a picture alone is one sample; give a list of pictures")
    if isinstance(data, Tensor):
        plain(data, "the tensor")
    if isinstance(data, Tensor | np.ndarray) and data.ndim == 0:
        raise TypeError("a single number is no data; the first dimension counts samples")
    if hasattr(data, "toarray"):
        raise TypeError(f"{kind} is sparse; call its toarray()")
    if isinstance(data, Dataset) and not (hasattr(data, "__len__") or hasattr(data, "__iter__")):
        raise TypeError(f"{kind} has no __len__, so its samples cannot be counted; give it one")
    if isinstance(data, Mapping) and _are_splits(data):
        raise TypeError(
            f"this is a dictionary of data sets, {', '.join(map(str, data))}; pass one of them, as "
            f"data[{next((k for k in data if split_named(str(k)) == 'test'), next(iter(data)))!r}]"
        )


def _are_splits(data: Mapping[Any, Any]) -> bool:
    """Return whether a dictionary holds data sets, or entries that are named after splits."""
    names = [key for key in data if key not in LABELS + IDS]
    if any(isinstance(data[key], Dataset | DataLoader | Mapping) for key in names):
        return True
    foreign = [type(data[key]).__module__.startswith("datasets.") for key in names]
    rows = [hasattr(data[key], "column_names") for key in names]  # a column has none
    named = bool(names) and all(split_named(str(key)) for key in names)
    return named or any(a and b for a, b in zip(foreign, rows, strict=True))


def refuse_no_rows(entries: Mapping[str, Any]) -> int:
    """Return the number of rows that all entries have.

    Raises:
        ValueError: where they differ, or there are no entries.
        TypeError: for an entry without rows.
    """
    for key, value in entries.items():
        shape = getattr(value, "shape", None)
        if shape == () or not hasattr(value, "__len__"):
            raise TypeError(
                f"column {key!r} is one {type(value).__name__} without rows; give N samples, one "
                "alone with a first dimension of 1"
            )
    sizes = {key: len(value) for key, value in entries.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"the tensors of a batch must share their first dimension, got {sizes}")
    return next(iter(sizes.values()))
