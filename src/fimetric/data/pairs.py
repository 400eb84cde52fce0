"""What of a tuple or list (x, y, ...) is x."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from fimetric.data.kinds import like_picture
from fimetric.data.values import is_array_of_numbers, shape_of

FROM_LIST = "pass torch.stack(list) for samples, torch.cat(list) or iter(list) for batches"


def x_of(item: Any, single: bool) -> Any:
    """Return x of what a loader or data set yields: element 0 of a tuple or list.

    A list of pictures is a batch of them, and a list of numbers one sample; anything that is no
    tuple or list is x itself.

    Arguments:
        item: what is yielded.
        single: whether that is one sample.

    Raises:
        TypeError: where the elements may as well be samples.
    """
    if not isinstance(item, list | tuple) or not item:
        return item
    if single and isinstance(item, list) and is_array_of_numbers(item):
        return item
    if not single and _are_pictures(item):
        return item
    if _may_be_samples(item, single):
        raise TypeError(
            f"a {type(item).__name__} of {len(item)} elements that are alike may be (x, y, ...) or "
            f"{'one sample' if single else 'as many samples'}; yield x alone, as one array"
            f"{'' if single else ' (see collate_fn of the DataLoader)'}"
        )
    return item[0]


def x_of_pair(data: tuple[Any, ...]) -> Any:
    """Return x of a tuple (x, y, ...) that is given as the data.

    Raises:
        TypeError: for a tuple that may be something else.
    """
    if _are_pictures(data):
        return list(data)
    if len(data) > 1 and not isinstance(data[0], Mapping | list) and shape_of(data[0]) is None:
        raise TypeError(
            f"a tuple that begins with a {type(data[0]).__name__} is no (x, y, ...) of arrays; "
            "pass that alone"
        )
    shapes = [shape_of(each) for each in data]
    if len(data) > 1 and None not in shapes:
        uneven = len({shape[:1] for shape in shapes if shape is not None}) > 1
        if uneven or len(set(shapes)) == 1:
            raise TypeError(
                f"a tuple of {len(data)} arrays, the first two of shapes {shapes[0]} and "
                f"{shapes[1]}, may be (x, y, ...) or several samples or batches; pass x alone, or "
                f"make it a list: {FROM_LIST}"
            )
    return data[0] if data else []


def _are_pictures(items: list[Any] | tuple[Any, ...]) -> bool:
    return bool(items) and all(isinstance(item, Image.Image) for item in items)


def _may_be_samples(item: list[Any] | tuple[Any, ...], single: bool) -> bool:
    """Return whether a tuple or list looks as if it held samples and no x with its y."""
    if len(item) < 2:
        return False
    if all(isinstance(each, Mapping) for each in item):
        return len({tuple(each) for each in item}) == 1
    shapes = {shape_of(each) for each in item}
    if len(shapes) > 1 or None in shapes:
        return _are_pictures(item) and len(item) > 2
    [shape] = shapes
    if is_array_of_numbers(item) or len(item) > 2:
        return True
    # two alike: x and its target, unless each is what a sample looks like
    return not single and shape is not None and (len(shape) == 1 or like_picture(shape))
