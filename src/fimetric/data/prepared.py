"""Texts, and the tensors that an objective makes of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from fimetric.data.batch import Batch, Input

Prepare = Callable[[Sequence[Any]], Input]


def texts_in(data: Sequence[Any]) -> bool:
    """Return whether a list holds texts.

    Raises:
        TypeError: naming an element that is none among others that are.
    """
    texts = [isinstance(item, str) for item in data]
    if any(texts) and not all(texts):
        i = texts.index(False)
        raise TypeError(
            f"element {i} of the list is {type(data[i]).__name__}, others are texts; leave it out"
        )
    return bool(texts) and all(texts)


def prepared(raw: list[str], start: int, prepare: Prepare) -> Batch:
    """Return some texts as a batch, numbered from ``start``.

    Raises:
        TypeError: where ``prepare`` returns no tensors.
        ValueError: where it returns not one row a text.
    """
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
    ids = [str(start + i) for i in range(len(raw))]
    return Batch(x if isinstance(made, Mapping) else made, ids, raw=raw)
