"""What kind of numbers a batch holds, in which shape, under which names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fimetric.data.batch import Batch, Input
from fimetric.data.keys import COMPANIONS, MASK, data_key, likely_key

FLOATS, INTEGERS, TOKENS, BOOLEANS, COMPLEX = "floats", "integers", "tokens", "booleans", "complex"
TEXTS = "texts"  # before an objective has made tokens of them
Shape = tuple[int | None, ...]


def as_batch(data: Any) -> Batch:
    """Return a batch of numbers; see ``Spec.of``.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(data, Batch):
        return data
    if isinstance(data, dict):
        x: Any = {key: _tensor(value) for key, value in data.items()}
        number = len(next(iter(x.values()))) if x else 0
    else:
        x = _tensor(data)
        number = len(x)
    return Batch(x, [str(i) for i in range(number)])


def _tensor(data: Any) -> Tensor:
    if isinstance(data, np.ndarray) and data.dtype.kind in "biufc":
        data = torch.from_numpy(np.ascontiguousarray(data))
    if not isinstance(data, Tensor):
        raise TypeError(f"{type(data).__name__} is no batch; give a tensor or an array (N, ...)")
    if not data.dim():
        raise ValueError("a single number is no batch; its first dimension counts samples")
    return data


def data_of(x: Input, likely: bool = False) -> Tensor:
    """Return the data of a batch: itself, or the entry that is the data.

    Arguments:
        x: the batch.
        likely: take the first entry where it cannot be told, for a loss may take several.

    Raises:
        ValueError: where it cannot be told, see ``fimetric.data.keys``.
    """
    if not isinstance(x, dict):
        return x
    return x[likely_key(x) if likely else data_key(x, "the batch")]


def ordinary(x: Tensor) -> Tensor:
    """Return integers as int64: torch has no minimum of some others."""
    return x.long() if kind_of(x) == INTEGERS else x


def other_entries(batch: Batch) -> tuple[str, ...]:
    """Return the names of the entries besides the data, sorted."""
    if not isinstance(batch.x, dict):
        return ()
    own = (likely_key(batch.x), *COMPANIONS)
    return tuple(sorted(key for key in batch.x if key not in own))


def columns_of(batch: Batch) -> tuple[str, ...] | None:
    """Return the names of a table's columns, where it has any."""
    columns = getattr(batch, "columns", None)
    return None if columns is None else tuple(map(str, columns))


def kind_of(x: Tensor) -> str:
    """Return the kind of numbers in a tensor."""
    if x.is_complex():
        return COMPLEX
    if x.dtype == torch.bool:
        return BOOLEANS
    return FLOATS if x.is_floating_point() else INTEGERS


def real_tokens(batch: Batch) -> Tensor:
    """Mark the tokens (N, T) that are no padding."""
    tokens = data_of(batch.x, likely=True)
    mask = batch.x.get("attention_mask") if isinstance(batch.x, dict) else None
    if mask is None or mask.shape != tokens.shape:
        return torch.ones_like(tokens, dtype=torch.bool)
    return mask != 0


def sizes_of(x: Input) -> Tensor:
    """Return how many values each sample has (N,), one at least; padding is none."""
    data = data_of(x)
    if isinstance(x, dict) and MASK in x and x[MASK].shape == data.shape:
        return x[MASK].ne(0).flatten(1).sum(1).clamp_min(1).cpu()
    return torch.full((len(data),), max(1, data[:1].numel()))


def fits(shape: Shape, expected: Shape) -> bool:
    """Return whether a shape is the one expected, None there fitting any length."""
    return len(shape) == len(expected) and all(
        b is None or a == b for a, b in zip(shape, expected, strict=True)
    )


def shape_text(shape: Shape) -> str:
    """Return a shape in words, ``any`` for a free dimension."""
    inside = ", ".join("any" if side is None else str(side) for side in shape)
    return f"({inside},)" if len(shape) == 1 else f"({inside})"


def some(ids: Sequence[str], rows: Sequence[int]) -> str:
    """Name the first of some samples, and count the others."""
    more = f" and {len(rows) - 1} more have" if len(rows) > 1 else " has"
    return f"sample {ids[rows[0]]}{more}"


def listed(names: Sequence[str]) -> str:
    """Return the names of entries or columns in a row."""
    return ", ".join(map(repr, names)) if names else "no other entry"


def other_columns(found: Sequence[str], expected: Sequence[str]) -> str:
    """Say how one list of columns differs from another."""
    missing = [name for name in expected if name not in found]
    foreign = [name for name in found if name not in expected]
    said = []
    if missing:
        said.append(f"{listed(missing)} missing")
    if foreign:
        said.append(f"{listed(foreign)} not known")
    if said:
        return f"{', '.join(said)}; pass {listed(expected)}, in this order"
    return f"they stand in another order; pass {listed(expected)}, in this order"


def refuse_other_source(batch: Batch, columns: tuple[str, ...] | None, rate: float | None) -> None:
    """Refuse rows of a table with other columns, and sounds of another rate.

    Raises:
        ValueError: saying what differs.
    """
    found = columns_of(batch)
    if columns is not None and found is not None and found != columns:
        raise ValueError(f"the table has other columns: {other_columns(found, columns)}")
    if rate is not None and batch.rate is not None and batch.rate != rate:
        raise ValueError(
            f"the clips have {batch.rate} values a second, where {rate:g} are expected; resample "
            f"them, as load(..., rate={rate:g}) does"
        )


def like_picture(shape: Shape) -> bool:
    """Return whether samples of a shape may be pictures: (C, H, W) of one or three channels."""
    return len(shape) == 3 and shape[0] in (1, 3)
