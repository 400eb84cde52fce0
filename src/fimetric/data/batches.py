"""One door for data of one's own: whatever it is, out come batches of whole groups, with ids."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from fimetric.arguments import whole
from fimetric.data.images import layout, to_array
from fimetric.data.samples import Samples, check_finite

log = logging.getLogger(__name__)
LABELS, IDS = ("label", "labels"), ("id", "path")
ALONE = ("x", "image", "img")  # a dictionary of one of these alone is the tensor itself
Input = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Some samples and their ids.

    ``x`` is a Tensor whose first dimension counts samples, or a dictionary of such; ``ids`` are
    strings.
    """

    x: Input
    ids: list[str]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)


def to_device(x: Input, device: torch.device) -> Input:
    """Return a batch on a device."""
    return {k: v.to(device) for k, v in x.items()} if isinstance(x, dict) else x.to(device)


def batches(data: Any, batch_size: int, group_size: int = 1) -> Iterator[Batch]:
    """Yield the samples of ``data`` in order, in batches of whole groups.

    Arguments:
        data: A Tensor, ndarray or dictionary of them (the first dimension counts samples; of a
            tuple, element 0), a torch Dataset or Hugging Face Dataset (of samples), a DataLoader,
            list or other iterable of batches. A sample or batch is a Tensor, ndarray or PIL image,
            or a dictionary of them; of a tuple or list, element 0. Keys ``label`` and ``labels``
            are dropped, ``id`` or ``path`` names the samples (else a running index). uint8 and PIL
            images become float32 k/255, channels first; a grey PIL image of 28x28 becomes 32x32,
            as in ``load``.
        batch_size: Samples in a batch, rounded down to whole groups, but one group at least.
        group_size: Consecutive samples that belong together. Samples left over at the end that
            make no whole group are left out, which is logged.

    Raises:
        ValueError: for empty data, sizes below 1, or a value that is not finite (naming the
        sample).
        TypeError: for something that is no data.
    """
    whole("batch_size", batch_size)
    whole("group_size", group_size)
    size = max(batch_size // group_size, 1) * group_size
    return _rechunk(_parts(data, size), size, group_size)


def length(data: Any) -> int | None:
    """Return the number of samples in ``data``, or None where only reading them would tell."""
    _refuse_number(data)
    if isinstance(data, tuple):
        return length(data[0]) if data else None
    if isinstance(data, Mapping):
        return next((len(v) for k, v in data.items() if k not in LABELS), None)
    if isinstance(data, DataLoader):
        # A sampler may leave samples out; a batch sampler of one's own may do anything.
        plain = data.batch_size is not None and not data.drop_last
        return len(data.sampler) if plain and isinstance(data.sampler, Sized) else None
    if isinstance(data, Tensor | np.ndarray) or _is_map_style(data):
        return len(data)
    return None


def _refuse_number(data: Any) -> None:
    if isinstance(data, Tensor | np.ndarray) and not data.ndim:
        raise ValueError("the data are a single number; their first dimension counts samples")


def _is_map_style(data: Any) -> bool:
    return hasattr(data, "__getitem__") and isinstance(data, Sized) and not isinstance(data, list)


def _parts(data: Any, size: int) -> Iterator[Batch]:
    """Yield the portions the data come in: a Batch of one for each sample of a Dataset."""
    _refuse_number(data)
    if isinstance(data, str | bytes):
        raise TypeError(f"{data!r} is a string; open it by fimetric.data.load")
    hugging_face = type(data).__module__.startswith("datasets.")
    if isinstance(data, Samples):
        for start in range(0, len(data), size):
            rows = range(start, min(start + size, len(data)))
            yield Batch(data.tensor(rows), [data.ids[i] for i in rows])
    elif isinstance(data, Tensor | np.ndarray | Mapping | tuple):
        yield from _slices(data[0] if isinstance(data, tuple) and data else data, size)
    elif isinstance(data, DataLoader | list):
        yield from _counted(data, _batch)
    elif _is_map_style(data):
        yield from _counted((data[i] for i in range(len(data))), _single)
    elif isinstance(data, IterableDataset) or (hugging_face and isinstance(data, Iterable)):
        yield from _counted(data, _single)
    elif isinstance(data, Iterable):
        yield from _counted(data, _batch)
    else:
        raise TypeError(
            f"{type(data).__name__} is no data; give a Tensor, an array, a Dataset, a DataLoader "
            "or an iterable of batches"
        )


def _slices(data: Any, size: int) -> Iterator[Batch]:
    """Yield portions of arrays that lie in memory, so that no more than a portion is converted."""
    columns = dict(data) if isinstance(data, Mapping) else {"x": data}
    number = max((len(column) for column in columns.values()), default=0)
    for start in range(0, number, size):
        part = {key: column[start : start + size] for key, column in columns.items()}
        yield _batch(part if isinstance(data, Mapping) else part["x"], start)


def _counted(items: Iterable[Any], convert: Callable[[Any, int], Batch]) -> Iterator[Batch]:
    start = 0
    for item in items:
        batch = convert(item, start)
        start += len(batch)
        yield batch


def _single(item: Any, start: int) -> Batch:
    """Return one sample as a Batch of one."""
    item = item[0] if isinstance(item, tuple | list) else item
    if isinstance(item, Mapping):
        return _batch({k: [v] if k in IDS else _one(v, k) for k, v in item.items()}, start)
    return _batch(_one(item, "x"), start)


def _one(value: Any, key: str) -> Any:
    if isinstance(value, Image.Image):
        return torch.from_numpy(to_array(value, f"column {key!r}", None, None).copy())[None]
    return _tensor(value, key)[None] if key not in LABELS else value


def _batch(item: Any, start: int) -> Batch:
    """Return what one item of an iterable, or a slice of an array, holds."""
    item = item[0] if isinstance(item, tuple | list) else item
    if isinstance(item, Batch):
        return item
    if isinstance(item, Image.Image):
        return _single(item, start)
    columns = dict(item) if isinstance(item, Mapping) else {"x": item}
    names = next((columns[key] for key in IDS if key in columns), None)
    x = {
        key: _float_images(_tensor(value, key), key)
        for key, value in columns.items()
        if key not in LABELS + IDS
    }
    sizes = {key: len(value) if value.ndim else -1 for key, value in x.items()}
    number = next(iter(sizes.values()), -1)
    if any(size != number for size in sizes.values()) or number < 0:
        raise ValueError(f"the tensors of a batch must share their first dimension, got {sizes}")
    ids = [str(start + i) for i in range(number)] if names is None else _strings(names)
    if len(ids) != number:
        raise ValueError(f"a batch has {number} samples but {len(ids)} ids")
    only = next(iter(x))
    return Batch(x[only] if len(x) == 1 and only in ALONE else x, ids)


def _strings(names: Any) -> list[str]:
    return [str(name) for name in (names.tolist() if hasattr(names, "tolist") else names)]


def _tensor(value: Any, key: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    try:
        array = np.asarray(value)
        # a copy where numpy says read-only: torch would warn, and could write into it
        return torch.as_tensor(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"column {key!r} holds {type(value).__name__}, which makes no tensor; "
            f"drop the column, or convert it ({error})"
        ) from error


def _float_images(x: Tensor, key: str) -> Tensor:
    """Return uint8 images (N, ...) as float32 (N, C, H, W) k/255, and anything else as it is."""
    if x.dtype != torch.uint8 or x.ndim < 3:
        return x
    return torch.from_numpy(layout(x.cpu().numpy(), f"column {key!r}")).float() / 255


def _rechunk(parts: Iterable[Batch], batch_size: int, group_size: int) -> Iterator[Batch]:
    held: list[Batch] = []
    count = total = 0
    for part in parts:
        rest = part
        total += len(part)
        for key, x in _columns(part).items():
            check_finite(x, part.ids, f"column {key!r}" if isinstance(part.x, dict) else "data")
        while len(rest):
            take = min(batch_size - count, len(rest))
            held.append(_cut(rest, 0, take))
            rest, count = _cut(rest, take, len(rest)), count + take
            if count == batch_size:
                yield _join(held)
                held, count = [], 0
    if total < group_size:
        raise ValueError(
            f"the data hold {total} samples, not one whole group of {group_size}"
            if total
            else "the data are empty"
        )
    left = count % group_size
    if left:
        log.warning(
            "the last %d of %d samples make no whole group of %d: left out", left, total, group_size
        )
    if count > left:
        yield _cut(_join(held), 0, count - left)


def _columns(batch: Batch) -> dict[str, Tensor]:
    return batch.x if isinstance(batch.x, dict) else {"x": batch.x}


def _cut(batch: Batch, start: int, stop: int) -> Batch:
    if isinstance(batch.x, Tensor):
        return Batch(batch.x[start:stop], batch.ids[start:stop])
    return Batch({k: v[start:stop] for k, v in batch.x.items()}, batch.ids[start:stop])


def _join(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    columns = [_columns(part) for part in parts]
    for part, column in zip(parts, columns, strict=True):
        found = {key: (tuple(x.shape[1:]), x.dtype) for key, x in column.items()}
        first = {key: (tuple(x.shape[1:]), x.dtype) for key, x in columns[0].items()}
        if found != first:
            raise ValueError(
                f"samples differ: {parts[0].ids[0]} is {first}, {part.ids[0]} is {found}; "
                "bring them to one shape and type"
            )
    joined = {key: torch.cat([column[key] for column in columns]) for key in columns[0]}
    ids = [name for part in parts for name in part.ids]
    return Batch(joined if isinstance(parts[0].x, dict) else joined["x"], ids)
