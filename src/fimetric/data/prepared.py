"""Texts, and the tensors that an objective makes of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from fimetric.data.batch import Batch, Input
from fimetric.data.rows import samples_named

Prepare = Callable[[Sequence[Any]], Input]


def refuse_no_text(value: Any, where: str) -> None:
    """Refuse what is no text, or an empty one, among texts.

    Raises:
        TypeError: for something else, a missing value among it.
        ValueError: for a text without a letter.
    """
    if not isinstance(value, str):
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        raise TypeError(
            f"{where} is {type(value).__name__}{' (a missing value)' * missing}, others are "
            "texts; leave it out"
        )
    if not value.strip():
        raise ValueError(f"{where} is an empty text; leave it out")


def prepared(
    raw: list[str], ids: list[str], kept: Mapping[str, Sequence[Any]], prepare: Prepare
) -> Batch:
    """Return some texts as a batch.

    Raises:
        TypeError: where ``prepare`` returns no tensors.
        ValueError: where it returns not one row a text.
    """
    with samples_named(ids):
        made: Any = prepare(raw)
    x = dict(made) if isinstance(made, Mapping) else {"x": made}
    for key, value in x.items():
        where = f"prepare(samples) of the objective returned {key!r} as"
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{where} {type(value).__name__}; return a tensor, or a dictionary of tensors"
            )
        if value.ndim == 0 or len(value) != len(raw):
            raise ValueError(
                f"{where} a tensor of shape {tuple(value.shape)} for {len(raw)} texts; return one "
                "row a text, so that each keeps its name"
            )
    if not x:
        raise TypeError("prepare(samples) of the objective returned an empty dictionary")
    return Batch(x if isinstance(made, Mapping) else made, ids, raw=raw, kept=kept)
