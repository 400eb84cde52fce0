"""From arrays, pictures, numbers and lists of them to tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fimetric.data.images import Pictures

TOKENISE = 'tokenise texts first: tokenizer(texts, padding=True, return_tensors="pt")'
PLAIN = (int, float, complex, str, bytes, np.generic, type(None))  # what numpy reads in lists
REMEDIES = {
    "U": TOKENISE,
    "S": TOKENISE,
    "T": TOKENISE,
    "O": "stack equal arrays by numpy.stack, and convert all else to numbers",
    "M": "convert dates to numbers",
    "m": "convert times to numbers",
    "V": "give its fields as the columns of one plain array",
}


class Converter:
    """Turns values into tensors, one ``Converter`` for a pass over some data.

    Pictures become uint8 (C, H, W), as in ``load``; ``pictures.tell`` says what was left out.
    """

    def __init__(self) -> None:
        self.pictures = Pictures()

    def __call__(self, value: Any, where: str) -> Tensor:
        """Return a value as a tensor; a list of pictures or tensors is stacked.

        Arguments:
            value: what to convert.
            where: what it is, for messages.

        Raises:
            TypeError: for what makes no tensor, saying what to do.
            ValueError: for a list in which one differs from the first, naming it.
        """
        if isinstance(value, Tensor):
            return plain(value, where)
        if isinstance(value, Image.Image):
            return torch.from_numpy(self.pictures.array(value, where).copy())  # torch's own
        if isinstance(value, list | tuple) and value and not isinstance(leaf(value), PLAIN):
            return self._stacked(value, where)
        return _from_array(value, where)

    def _stacked(self, values: Sequence[Any], where: str) -> Tensor:
        rows = [self(value, where) for value in values]
        refuse_ragged([tuple(row.shape) for row in rows], where)
        return torch.stack(rows)


def leaf(value: Any) -> Any:
    """Return the first thing in nested lists and tuples that is neither; None where they end."""
    while isinstance(value, list | tuple):
        value = value[0] if value else None
    return value


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return the shape of an array, a number, or nested lists of them; None for all else."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return tuple(value.shape)
    if isinstance(value, bool | int | float):
        return ()
    if isinstance(value, list | tuple):
        inner = shape_of(value[0]) if value else ()
        return None if inner is None else (len(value), *inner)
    return None


def even_shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of nested lists of numbers; None where they are uneven."""
    try:
        return np.shape(value)
    except ValueError:
        return None


def is_array_of_numbers(value: Any) -> bool:
    """Return whether a value is nested lists of numbers that are even."""
    first = leaf(value)
    number = isinstance(first, bool | int | float | np.number) and isinstance(value, list | tuple)
    return number and even_shape(value) is not None


def refuse_ragged(shapes: Sequence[tuple[int, ...] | None], where: str, start: int = 0) -> None:
    """Refuse elements of another shape than the first, from dimension ``start`` on.

    Raises:
        ValueError: naming the first of them, or the first of no even shape.
    """
    for i, shape in enumerate(shapes):
        if shape is None or (shapes[0] and shape[start:] != shapes[0][start:]):
            raise ValueError(
                f"{where}: element {i} has {f'shape {shape}' if shape else 'no even shape'}, "
                f"element 0 has {shapes[0]}; bring them to one shape"
            )


def plain(x: Tensor, where: str) -> Tensor:
    """Return a tensor of values that lie in memory, without its graph.

    Raises:
        TypeError: for a tensor of another kind, saying how to convert it.
    """
    for wrong, what, remedy in (
        (x.is_meta, "on the device 'meta', which holds no values", "load the values first"),
        (x.is_nested, "a nested tensor", "pad it, by torch.nested.to_padded_tensor"),
        (x.layout != torch.strided, f"sparse ({x.layout})", "call to_dense()"),
        (x.is_quantized, "quantised", "call dequantize()"),
    ):
        if wrong:
            raise TypeError(f"{where} is {what}; {remedy}")
    return x.clone() if x.is_inference() else x.detach()  # no gradient passes an inference tensor


def _from_array(value: Any, where: str) -> Tensor:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(f"{where} has masked values; fill or leave them out")
    try:
        array = np.asarray(value)
    except ValueError as error:  # nested lists
        refuse_ragged([even_shape(each) for each in value], where)
        raise ValueError(f"{where} makes no array ({error})") from error
    if array.dtype.kind in REMEDIES:
        first = next(iter(array.flat), None)
        raise TypeError(
            f"{where} holds {type(first).__name__} ({array.dtype}), which makes no tensor; drop "
            f"it, or {REMEDIES[array.dtype.kind]}"
        )
    # torch takes no foreign byte order and no negative strides, and warns of read-only arrays
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    fine = array.flags.writeable and min(array.strides, default=0) >= 0
    try:
        return torch.as_tensor(array if fine else array.copy())
    except TypeError as error:
        raise TypeError(
            f"{where} holds {array.dtype}, which makes no tensor; convert it ({error})"
        ) from error
