"""A batch: some samples, as they were given and as tensors, with their ids; cut and joined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from fimetric.data.keys import COMPANIONS, MASK, PADDED, TOKENS

Input = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Some samples and their ids.

    ``x`` is a Tensor whose first dimension counts samples, or a dictionary of such; ``ids`` are
    strings. ``columns`` are the names of the columns of a table, ``rate`` is that of sounds,
    in samples a second.
    ``raw`` are the samples as they were given where that is no tensor, such as texts. ``kept`` are
    columns beside the data, such as labels and prompts: name -> N values. A loss gets that of its
    condition alone.
    """

    x: Input
    ids: list[str]
    columns: tuple[str, ...] | None = None
    raw: Sequence[Any] | None = None
    kept: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    rate: int | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ids)

    def entries(self) -> dict[str, Tensor]:
        """Return the tensors by name, a tensor alone as ``x``."""
        return self.x if isinstance(self.x, dict) else {"x": self.x}

    def cut(self, start: int, stop: int) -> "Batch":
        """Return the samples from ``start`` to before ``stop``."""
        rows = slice(start, stop)
        x = self.x[rows] if isinstance(self.x, Tensor) else {k: v[rows] for k, v in self.x.items()}
        raw = None if self.raw is None else self.raw[rows]
        kept = {name: values[rows] for name, values in self.kept.items()}
        return replace(self, x=x, ids=self.ids[rows], raw=raw, kept=kept)


def to_device(x: Input, device: torch.device) -> Input:
    """Return a batch on a device."""
    return {k: v.to(device) for k, v in x.items()} if isinstance(x, dict) else x.to(device)


def trimmed(x: Input) -> Input:
    """Return texts without the padding behind the longest of them; all else as it is."""
    if not isinstance(x, dict) or MASK not in x or TOKENS not in x:
        return x
    tokens, mask = x[TOKENS], x[MASK]
    if mask.shape != tokens.shape or mask.ndim != 2:
        return x
    places = mask.any(0).nonzero()
    stop = max(1, int(places[-1]) + 1 if len(places) else 1)
    return x | {key: value[:, :stop] for key, value in x.items() if key in (TOKENS, *COMPANIONS)}


def join(parts: list[Batch]) -> Batch:
    """Return several batches as one; texts of other length are padded on the right.

    Padding has token 0 and mask 0; a mask of ones is made where there is none.

    Raises:
        ValueError: where shapes, types or entries differ, naming two samples.
    """
    if len(parts) == 1:
        return parts[0]
    padded = [{**part.entries()} for part in parts]
    if all(TOKENS in entries for entries in padded):
        _pad(padded)
    _refuse_unlike(parts, padded)
    joined = {key: torch.cat([entries[key] for entries in padded]) for key in padded[0]}
    ids = [name for part in parts for name in part.ids]
    x = joined if isinstance(parts[0].x, dict) else joined["x"]
    raws = [part.raw for part in parts if part.raw is not None]
    raw = [sample for each in raws for sample in each] if len(raws) == len(parts) else None
    shared = set.intersection(*(set(part.kept) for part in parts))
    kept = {
        name: [value for part in parts for value in part.kept[name]]
        for name in parts[0].kept
        if name in shared
    }
    return Batch(x, ids, parts[0].columns, raw, kept, parts[0].rate)


def _refuse_unlike(parts: list[Batch], padded: list[dict[str, Tensor]]) -> None:
    """Refuse to join batches of other shapes, columns or rates than the first.

    Raises:
        ValueError: naming a sample of each.
    """
    first, columns = _kinds(padded[0]), parts[0].columns
    for part, entries in zip(parts, padded, strict=True):
        if _kinds(entries) != first:
            raise ValueError(
                f"samples differ: {parts[0].ids[0]} is {first}, {part.ids[0]} is "
                f"{_kinds(entries)}; bring them to one shape and type"
            )
        if part.columns != columns:
            raise ValueError(
                f"samples differ: {parts[0].ids[0]} has the columns {columns}, {part.ids[0]} has "
                f"{part.columns}; bring them to one order"
            )
        if part.rate != parts[0].rate:
            raise ValueError(
                f"samples differ: {parts[0].ids[0]} has {parts[0].rate} values a second, "
                f"{part.ids[0]} has {part.rate}; resample them, as load(..., rate=...) does"
            )


def other_length(one: Batch, other: Batch) -> bool:
    """Return whether both are tokens, or both clips of sound, (N, T) or (N, C, T), of other length.

    Nothing says how to pad them, as a mask does for dictionaries of tokens.
    """
    a, b = one.x, other.x
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype == b.dtype):
        return False
    if a.is_complex() or a.dtype == torch.bool or a.ndim != b.ndim:
        return False
    longest = 3 if a.is_floating_point() else 2
    differing = [m != n for m, n in zip(a.shape[1:], b.shape[1:], strict=True)]
    return 2 <= a.ndim <= longest and sum(differing) == 1


def _kinds(entries: dict[str, Tensor]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    return {key: (tuple(x.shape[1:]), x.dtype) for key, x in entries.items()}


def _pad(parts: list[dict[str, Tensor]]) -> None:
    """Bring texts to one length, and give a mask to all where one has or needs it."""
    longest = max(entries[TOKENS].shape[1] for entries in parts)
    ragged = any(entries[TOKENS].shape[1] < longest for entries in parts)
    masks = [entries[MASK] for entries in parts if MASK in entries]
    for entries in parts:
        tokens = entries[TOKENS]
        if (ragged or masks) and MASK not in entries:
            entries[MASK] = torch.ones_like(tokens, dtype=masks[0].dtype if masks else None)
        for key in (key for key in PADDED if key in entries):
            if entries[key].shape == tokens.shape:
                missing = longest - tokens.shape[1]
                entries[key] = torch.nn.functional.pad(entries[key], (0, missing))
