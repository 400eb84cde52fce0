"""One pass over some data of any kind: the portions that they come in, as batches."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from fimetric.data import spoken, tables
from fimetric.data.batch import Batch, join
from fimetric.data.declared import as_declared, items_of
from fimetric.data.images import layout
from fimetric.data.keys import IDS, LABELS, PADDED, TOKENS, TOLD, stands_alone
from fimetric.data.names import printable
from fimetric.data.pairs import x_of, x_of_pair
from fimetric.data.prepared import Prepare, prepared
from fimetric.data.reading import are_samples
from fimetric.data.refusals import refuse_foreign, refuse_no_rows
from fimetric.data.samples import Samples
from fimetric.data.strings import String, are_texts, holds_text, strings
from fimetric.data.telling import tell_of_shuffling
from fimetric.data.values import Converter, is_array_of_numbers, plain

log = logging.getLogger(__name__)


def is_map_style(data: Any) -> bool:
    """Return whether samples are had by their index; the length of an iterable may be wrong."""
    plain = hasattr(data, "__getitem__") and isinstance(data, Sized)
    return plain and not isinstance(data, list | str | bytes | IterableDataset)


class Reader:
    """Turns some data into batches: of one sample each, or as many as they come in.

    Arguments:
        size: samples to a portion of what lies in memory, so that no more is converted at once.
        prepare: makes tensors of texts, if anything does.
        condition: the column that a loss is told, if any.
    """

    def __init__(
        self, size: int, prepare: Prepare | None = None, condition: str | None = None
    ) -> None:
        self.size, self.prepare, self.convert = size, prepare, Converter()
        self.condition = condition
        self._kept: set[str] = set()

    def parts(self, data: Any) -> Iterator[Batch]:
        """Yield the data portion by portion, and say at the end what was left out of them.

        Raises:
            TypeError, ValueError: see ``fimetric.data.batches``.
        """
        yield from self._parts(data)
        self.convert.pictures.tell()
        if idle := sorted(self._kept - {self.condition}):
            log.info("kept beside the data, no loss gets it: %s", ", ".join(idle))

    def _parts(self, data: Any) -> Iterator[Batch]:
        refuse_foreign(data)
        for fits, read in (
            (isinstance(data, Samples), self._of_samples),
            (self._is_row_of_texts(data), self._of_row),
            (isinstance(data, tuple), self._of_pair),
            (tables.is_table(data), self._of_table),
            (tables.are_rows_of_numbers(data, self.condition), self._of_set_of_numbers),
            (isinstance(data, Tensor | np.ndarray | Mapping), self._slices),
            (isinstance(data, list), self._of_list),
            (isinstance(data, DataLoader), self._of_loader),
            (spoken.holds_sounds(data), self._of_sounds),
            (is_map_style(data), self._of_items),
            (isinstance(data, Iterable), self._of_iterable),
        ):
            if fits:
                return read(data)
        raise TypeError(
            f"{type(data).__name__} is no data; give a Tensor, an array, a Dataset, a DataLoader "
            "or an iterable of batches"
        )

    def _is_row_of_texts(self, data: Any) -> bool:
        """Return whether a tuple or array holds texts alone, as a list of them does."""
        if isinstance(data, np.ndarray):
            one = data.ndim == 1 and data.dtype.kind in "UTO" and len(data) > 0
            return self.prepare is not None and one and isinstance(data[0], str)
        alike = isinstance(data, tuple) and bool(data) and all(isinstance(x, str) for x in data)
        return self.prepare is not None and alike

    def _of_samples(self, data: Samples) -> Iterator[Batch]:
        self._kept.update(data.kept)
        for start in range(0, len(data), self.size):
            rows = range(start, min(start + self.size, len(data)))
            yield from data.parts(rows, self.prepare)

    def _of_sounds(self, data: Any) -> Iterator[Batch]:
        if self.prepare is not None and not hasattr(data, "column_name"):
            data = spoken.undecoded(data)
            return self._of_items(data) if is_map_style(data) else self._of_iterable(data)
        return self._of_samples(spoken.opened(data, self.condition))

    def _of_pair(self, data: tuple[Any, ...]) -> Iterator[Batch]:
        return self._parts(x_of_pair(data))

    def _of_table(self, data: Any) -> Iterator[Batch]:
        found = tables.as_pandas(data)
        texts = tables.texts(found, self.condition) if self.prepare is not None else None
        if texts is not None:
            return self._of_strings(texts)
        opened = tables.opened(found)
        if isinstance(opened, list):
            return self._counted(opened, self._single)
        self._kept.update(name for name in map(str, opened.columns) if name in LABELS)
        return tables.rows(opened, self.size, self.condition)

    def _of_set_of_numbers(self, data: Any) -> Iterator[Batch]:
        chosen = data.with_format(None).select_columns(data.format["columns"])
        return self._of_table(chosen.to_pandas())

    def _of_list(self, data: list[Any]) -> Iterator[Batch]:
        if data and isinstance(data[0], list | tuple) and is_array_of_numbers(data[0]):
            return self._slices(self.convert(data, "the list"))
        if self.prepare is not None and are_texts(data, self.condition):
            return self._of_strings(strings(data, False, "list", self.condition))
        single = bool(data) and are_samples(data, condition=self.condition)
        return self._counted(data, self._single if single else self._batch)

    def _of_row(self, data: "tuple[Any, ...] | np.ndarray") -> Iterator[Batch]:
        return self._of_list(data.tolist() if isinstance(data, np.ndarray) else list(data))

    def _of_strings(self, texts: Iterable[String]) -> Iterator[Batch]:
        """Yield texts in portions; those without a name are numbered.

        Raises:
            TypeError: see ``fimetric.data.prepared``.
        """
        assert self.prepare is not None
        start, remaining = 0, iter(texts)
        while part := list(itertools.islice(remaining, self.size)):
            ids = [str(i) if each.name is None else each.name for i, each in enumerate(part, start)]
            shared = set.intersection(*(set(each.kept) for each in part))
            kept = {key: [each.kept[key] for each in part] for key in sorted(shared)}
            self._kept.update(kept)
            yield prepared([each.text for each in part], ids, kept, self.prepare)
            start += len(part)

    def _of_loader(self, loader: DataLoader[Any]) -> Iterator[Batch]:
        tell_of_shuffling(loader)
        if loader.batch_sampler is not None:
            return self._counted(loader, self._batch)
        items = iter(loader)  # batch_size=None: of whatever the data set yields
        first = list(itertools.islice(items, 1))
        remedy = "give the DataLoader a batch_size, or pass iter(loader) where it yields batches"
        texts = self._hold_texts(first, False)
        single = bool(first) and not texts and are_samples(first, remedy, self.condition)
        convert = self._single if single else self._batch
        return self._counted(itertools.chain(first, items), convert)

    def _of_items(self, data: Any) -> Iterator[Batch]:
        return self._counted(as_declared(items_of(data), data), self._single)

    def _of_iterable(self, data: Iterable[Any]) -> Iterator[Batch]:
        hugging_face = type(data).__module__.startswith("datasets.")
        singles = isinstance(data, IterableDataset) or hugging_face
        return self._counted(as_declared(data, data), self._single if singles else self._batch)

    def _slices(self, data: Any) -> Iterator[Batch]:
        """Yield portions of arrays that lie in memory, so that no more than one is converted."""
        columns = dict(data) if isinstance(data, Mapping) else {"x": data}
        if isinstance(data, Mapping) and self._hold_texts([data], False):
            yield from self._of_strings(strings([data], False, "data", self.condition))
            return
        for key, value in columns.items():
            if isinstance(value, Tensor):
                plain(value, f"column {key!r}")  # before it is cut
        entries, kept = self._apart(columns)
        number = refuse_no_rows(entries)
        columns = {**entries, **_one_a_sample(kept, number)}
        for start in range(0, number, self.size):
            rows = slice(start, start + self.size)
            part = {key: value[rows] for key, value in columns.items()}
            yield self._batch(part if isinstance(data, Mapping) else part["x"], start)

    def _counted(
        self, items: Iterable[Any], convert: Callable[[Any, int], Batch]
    ) -> Iterator[Batch]:
        remaining = iter(items)
        first = list(itertools.islice(remaining, 1))
        items, single, start = itertools.chain(first, remaining), convert == self._single, 0
        if self._hold_texts(first, single):
            yield from self._of_strings(strings(items, single, "data", self.condition))
            return
        for item in items:
            batch = convert(item, start)
            start += len(batch)
            yield batch

    def _hold_texts(self, first: list[Any], single: bool) -> bool:
        """Return whether the first of some items, where there is one, is or holds a text."""
        return (
            self.prepare is not None
            and bool(first)
            and holds_text(first[0], single, self.condition)
        )

    def _single(self, item: Any, start: int) -> Batch:
        """Return one sample as a Batch of one."""
        item = x_of(item, True)
        if not isinstance(item, Mapping):
            return self._batch(self.convert(item, "the data")[None], start)
        entries, kept = self._apart(item)
        rows = {k: [v] if k in IDS else self._entry(k, v)[None] for k, v in entries.items()}
        return self._batch({**rows, **{k: [v] for k, v in kept.items()}}, start)

    def _batch(self, item: Any, start: int) -> Batch:
        """Return what one item of an iterable, or a slice of an array, holds.

        Raises:
            ValueError: for tokens that are not (N, tokens), or another number of ids than of
                samples.
        """
        item = x_of(item, False)
        if isinstance(item, Batch):
            return item
        if isinstance(item, Image.Image):
            return self._single(item, start)
        named = isinstance(item, Mapping)
        entries, kept = self._apart(item) if named else ({"x": item}, {})
        if _is_ragged(entries.get(TOKENS)):
            return self._padded({**entries, **_one_a_sample(kept, len(entries[TOKENS]))}, start)
        names = next((entries[key] for key in IDS if key in entries), None)
        x = {key: self._entry(key, v) for key, v in entries.items() if key not in IDS}
        number = refuse_no_rows(x)
        if TOKENS in x and x[TOKENS].ndim != 2:
            raise ValueError(
                f"{TOKENS!r} has shape {tuple(x[TOKENS].shape)}; give (N, tokens): one text alone "
                "has a first dimension of 1"
            )
        ids = [str(start + i) for i in range(number)] if names is None else _strings(names)
        if len(ids) != number:
            raise ValueError(f"a batch has {number} samples but {len(ids)} ids")
        x = {key: _float_images(value, key) for key, value in x.items()}
        alone = next(iter(x.values())) if stands_alone(x) else x
        return Batch(alone, ids, kept=_one_a_sample(kept, number))

    def _apart(self, entries: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the entries that are data, and those to be kept beside them, which is noted."""
        told = [k for k in TOLD if k in entries and _is_text(entries[k])]
        kept = {k: v for k, v in entries.items() if k in (*LABELS, *told, self.condition)}
        self._kept.update(kept)
        return {k: v for k, v in entries.items() if k not in kept}, kept

    def _entry(self, key: str, value: Any) -> Tensor:
        x = self.convert(value, f"column {key!r}")
        return x.long() if key in PADDED and x.numel() == 0 else x  # no tokens have no type

    def _padded(self, entries: dict[str, Any], start: int) -> Batch:
        """Return texts of different length as one batch."""
        rows = range(len(entries[TOKENS]))
        return join([self._single({k: v[i] for k, v in entries.items()}, start + i) for i in rows])


def _one_a_sample(kept: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the columns that have a value for each sample."""
    return {k: v for k, v in kept.items() if isinstance(v, Sized) and len(v) == number}


def _is_text(value: Any) -> bool:
    """Return whether a value is a text, or a list of them."""
    several = isinstance(value, list | tuple) and bool(value)
    return isinstance(value, str) or (several and all(isinstance(each, str) for each in value))


def _is_ragged(tokens: Any) -> bool:
    """Return whether tokens are lists of different length."""
    lists = isinstance(tokens, list | tuple) and all(isinstance(each, Sized) for each in tokens)
    return lists and len({len(each) for each in tokens}) > 1


def _strings(names: Any) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"a batch has the one id {names!r}; give a list of ids, one a sample")
    return [printable(name) for name in (names.tolist() if hasattr(names, "tolist") else names)]


def _float_images(x: Tensor, key: str) -> Tensor:
    """Return uint8 images (N, ...) as float32 (N, C, H, W) k/255, and anything else as it is."""
    if x.dtype != torch.uint8 or x.ndim < 3:
        return x
    return torch.from_numpy(layout(x.cpu().numpy(), f"column {key!r}")).float() / 255
