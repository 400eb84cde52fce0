"""One door for data of one's own: whatever it is, out come batches of whole groups, with ids."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from fimetric.arguments import whole
from fimetric.data.batch import Batch, join, other_length
from fimetric.data.finite import check_finite
from fimetric.data.keys import LABELS
from fimetric.data.prepared import Prepare
from fimetric.data.reader import Reader, is_map_style
from fimetric.data.refusals import refuse_foreign
from fimetric.data.values import shape_of

log = logging.getLogger(__name__)
Choice = Callable[[Batch], int]
PORTION = 64  # samples of an array that are converted at a time until a batch has a size


def batches(
    data: Any,
    batch_size: int | Choice,
    group_size: int = 1,
    prepare: Prepare | None = None,
    condition: str | None = None,
) -> Iterator[Batch]:
    """Yield the samples of ``data`` in order, in batches of whole groups.

    A sample or batch is a Tensor, ndarray or PIL image, or a dictionary of them; of a tuple or list
    (x, y, ...), x. Entries ``label`` and ``labels``, and texts called ``prompt`` and ``source``,
    are kept beside the data, which is logged; ``id`` or ``path`` names the samples (else a running
    index), and an only entry comes out as the tensor itself, unless it is an argument of a model
    such as ``input_ids``. uint8 and PIL images become float32 k/255, channels first; PIL images are
    turned as EXIF says, and a grey one of 28x28 becomes 32x32, as in ``load``. Texts, dictionaries
    with ``input_ids``, are padded on the right to one length, with mask 0. Tokens alone and clips
    of sound, rows of floats, are not: a batch ends where their length changes.

    Arguments:
        data: A Tensor, ndarray or dictionary of them (the first dimension counts samples); a table
            of numbers of pandas or arrow (rows are samples); a torch or Hugging Face Dataset, of
            samples; a DataLoader, generator or other iterable of batches; a list of samples or of
            batches, whichever fits its items; what ``load`` returns. With ``prepare`` texts, in
            any of these: strings, or dictionaries and tables with a column of them.
        batch_size: Samples in a batch, rounded down to whole groups, but one group at least; or
            what tells it from the first sample.
        group_size: Consecutive samples that belong together. Samples left over at the end that
            make no whole group are left out, which is logged.
        prepare: What makes tensors of a list of texts, ``Objective.prepare``; where it is None
            texts are no data.
        condition: The column that a loss is told of each sample, whatever it is called: it is kept
            beside the data.

    Raises:
        ValueError: for empty data, sizes below 1, samples that differ, or a value that is missing
            or not finite (naming the sample).
        TypeError: for something that is no data, such as texts or a dictionary of splits, or a
            list that may be samples or batches.
    """
    whole("group_size", group_size)
    if callable(batch_size):
        return _rechunk(Reader(PORTION, prepare, condition).parts(data), batch_size, group_size)
    size = rounded(whole("batch_size", batch_size), group_size)
    return _rechunk(Reader(size, prepare, condition).parts(data), lambda _: size, group_size)


def rounded(batch_size: int, group_size: int) -> int:
    """Return the size of a batch in whole groups, one group at least."""
    return max(batch_size // group_size, 1) * group_size


def length(data: Any) -> int | None:
    """Return the number of samples in ``data``, or None where only reading them would tell."""
    if isinstance(data, tuple) and not (data and all(isinstance(x, str) for x in data)):
        return len(data[0]) if data and _has_rows(data[0]) else None
    refuse_foreign(data)
    if isinstance(data, Mapping):
        return next((len(v) for k, v in data.items() if k not in LABELS and _has_rows(v)), None)
    if isinstance(data, DataLoader):
        # A sampler may leave samples out; a batch sampler of one's own may do anything.
        plain = data.batch_size is not None and not data.drop_last
        return len(data.sampler) if plain and isinstance(data.sampler, Sized) else None
    if _has_rows(data) and (isinstance(data, Tensor | np.ndarray) or is_map_style(data)):
        return len(data)
    return None


def _has_rows(data: Any) -> bool:
    return isinstance(data, Sized) and shape_of(data) != ()


def _rechunk(parts: Iterable[Batch], choice: Choice, group_size: int) -> Iterator[Batch]:
    held: list[Batch] = []
    batch_size = count = total = 0
    for part in parts:
        rest = part
        total += len(part)
        for key, x in part.entries().items():
            check_finite(x, part.ids, f"column {key!r}" if isinstance(part.x, dict) else "data")
        if len(rest) and not batch_size:
            batch_size = rounded(choice(rest.cut(0, 1)), group_size)
        if held and count % group_size == 0 and other_length(held[-1], rest):
            yield join(held)  # nothing says how to pad them
            held, count = [], 0
        while len(rest):
            take = min(batch_size - count, len(rest))
            held.append(rest.cut(0, take))
            rest, count = rest.cut(take, len(rest)), count + take
            if count == batch_size:
                yield join(held)
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
        yield join(held).cut(0, count - left)
