"""Whether the items of a list that is given as the data are samples, or batches of samples."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fimetric.data.batch import Batch
from fimetric.data.keys import ALONE, ARGUMENTS, IDS, LABELS, TOKENS
from fimetric.data.pairs import FROM_LIST, x_of
from fimetric.data.values import TOKENISE, is_array_of_numbers, leaf, refuse_ragged, shape_of

COLOURS = (1, 3)  # channels of a picture


def are_samples(
    items: Sequence[Any], remedy: str = FROM_LIST, condition: str | None = None
) -> bool:
    """Return whether items are samples rather than batches of samples.

    Pictures (PIL, or arrays of 1 or 3 channels), vectors, and items with a single label or id are
    samples; arrays of four and more dimensions, or with as many labels as rows, are batches, and so
    are arrays of one shape but for a last one of fewer rows, as splitting leaves them. Rows of
    floats may differ in length, as clips of sound do.

    Arguments:
        items: at least one.
        remedy: what to do where both readings fit.
        condition: the entry of a dictionary that a loss is told, as a label is.

    Raises:
        TypeError: where both readings fit, or an item is no data.
        ValueError: where the items differ in a way that fits neither, naming one.
    """
    if any(isinstance(item, Batch) for item in items):
        return False
    looks = [_look(item, i, condition) for i, item in enumerate(items)]
    if any(look.picture or look.labelled for look in looks):
        return True
    shapes = [look.shape for look in looks]
    if isinstance(items[0], Mapping) and not shapes[0]:
        raise TypeError("a list of dictionaries of numbers is a table; pass pandas.DataFrame(list)")
    _refuse_other_dimensions(shapes)
    dimensions = len(shapes[0])
    if dimensions > 3 or looks[0].tokens:
        return dimensions == 1
    several, alike = all(look.several for look in looks), len(set(shapes)) == 1
    if dimensions == 1 or all(look.channels for look in looks):
        counted = dimensions == 3 and not alike and len({shape[1:] for shape in shapes}) == 1
        if not several and not counted:
            if not all(look.clip for look in looks):
                refuse_ragged(shapes, "the list")
            return True
    else:
        refuse_ragged(shapes, "the list", start=1)
        if several or _are_split(shapes):
            return False
        if not alike:
            raise TypeError(
                f"it cannot be told whether elements of shapes {shapes[0]}, {shapes[1]}, ... are "
                "samples of different length, or batches; pass a torch Dataset of them for "
                "samples, iter(list) for batches"
            )
    raise TypeError(
        f"it cannot be told whether elements of shape {shapes[0]} are samples, or batches of "
        f"{shapes[0][0]}; {remedy}"
    )


def _are_split(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Return whether only the last array has fewer rows than all others."""
    rows = [shape[0] for shape in shapes]
    return len(set(rows[:-1])) == 1 and rows[-1] < rows[0]


@dataclass(frozen=True)
class _Look:
    """What tells of one item whether it is a sample."""

    shape: tuple[int, ...] = ()
    picture: bool = False  # a PIL image
    channels: bool = False  # an array of as many channels as a picture has
    tokens: bool = False
    clip: bool = False  # a row of floats, whose length may differ
    labelled: bool = False  # by a single value
    several: bool = False  # as many labels or ids as rows


def _look(item: Any, i: int, condition: str | None) -> _Look:
    x, labels, tokens = _apart(item, condition)
    if isinstance(x, Image.Image):
        return _Look(picture=True)
    if isinstance(leaf(x), Image.Image):
        x = np.empty((len(x), 1, 1, 1))  # a batch of pictures
    shape = shape_of(x)
    if shape is None:
        raise TypeError(f"element {i} of the list {_complaint(leaf(x))}")
    rows = [_rows(label) for label in labels]
    return _Look(
        shape,
        channels=_has_channels(x, shape),
        tokens=tokens,
        clip=len(shape) == 1 and _is_floating(x),
        labelled=None in rows,
        several=bool(shape and rows) and set(rows) == {shape[0]},
    )


def _apart(item: Any, condition: str | None) -> tuple[Any, list[Any], bool]:
    """Return x of an item, its labels and ids, and whether x are the tokens of texts."""
    if isinstance(item, Mapping):
        beside = (*LABELS, *IDS, condition)
        names = [name for name in item if name not in beside]
        known = [name for name in names if name in ALONE + ARGUMENTS]
        key = next(iter(known or names), None)
        labels = [item[name] for name in item if name in beside]
        return (None if key is None else item[key]), labels, key == TOKENS
    if isinstance(item, list | tuple) and not is_array_of_numbers(item):
        x = x_of(item, False)
        return x, [] if x is item else list(item[1:]), False
    return item, [], False


def _is_floating(x: Any) -> bool:
    if isinstance(x, Tensor):
        return x.is_floating_point()
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _rows(label: Any) -> int | None:
    """Return how many labels there are, None for a single one."""
    if isinstance(label, str) or not isinstance(label, Sized) or shape_of(label) == ():
        return None
    return len(label)


def _has_channels(x: Any, shape: tuple[int, ...]) -> bool:
    last = getattr(x, "dtype", None) in (torch.uint8, np.dtype("uint8"))
    return len(shape) == 3 and (shape[0] in COLOURS or (last and shape[2] in COLOURS))


def _refuse_other_dimensions(shapes: Sequence[tuple[int, ...]]) -> None:
    for i, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]):
            raise ValueError(
                f"the list: element {i} has shape {shape}, element 0 has {shapes[0]}; bring them "
                "to one shape"
            )
    if not shapes[0]:
        raise TypeError(
            "a list of numbers is no list of samples; pass torch.tensor(list)[None] for one "
            "sample, torch.tensor(list)[:, None] for samples of one number"
        )


def _complaint(value: Any) -> str:
    if isinstance(value, str | bytes):
        return f"is text; {TOKENISE}"
    if hasattr(value, "__getitem__") and not isinstance(value, Mapping):
        return (
            f"is a {type(value).__name__}; join data sets by torch.utils.data.ConcatDataset, "
            "tables by pandas.concat"
        )
    return f"is {type(value).__name__}, which is no sample; leave it out"
