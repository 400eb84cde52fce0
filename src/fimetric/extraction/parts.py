"""Features written part by part while they are extracted, so that a stopped run goes on."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fimetric.data import Batch, Spec
from fimetric.features.table import Features
from fimetric.gradients.contributions.costs import Costs, restored
from fimetric.objectives.base import values_of
from fimetric.store.archive import damaged
from fimetric.store.files import sweep, whole_folder

PART_SECONDS = 20.0  # how much work may be lost when extraction is stopped
Bounds = NDArray[np.float64]
DIGEST = "data.sha256"


class Parts:
    """The parts of one table of features: those an earlier call left, then those of this one.

    With a folder, parts lie in ``<folder>.parts`` until all are done and the folder itself is
    written. An earlier part counts only if the data that it was made from come again, byte by byte.

    Arguments:
        folder: where the features will be, or None to keep them in memory alone.
        other: what tells in words how a table comes from something else, empty where it does not.
    """

    def __init__(self, folder: Path | None, other: Callable[[Features], str]) -> None:
        self.folder, self.other = folder, other
        self.batch_size: int | None = None
        """Samples to a batch, which a later call goes on with."""
        self.costs: Costs | None = None
        """What the earlier parts' norms were chosen by, if there are any."""
        self.done: list[Features] = []
        self.new: list[tuple[Features, str]] = []  # with the digest of the data up to there
        self._digest, self._samples = hashlib.sha256(), 0
        self._whole = hashlib.sha256()
        self._last = time.monotonic()
        self.waiting = [] if folder is None else self._earlier(folder)
        if self.waiting and not (folder and (folder / DIGEST).exists()):
            self.batch_size = self.waiting[0][0].batch_size
        if self.waiting:
            self.costs = restored(self.waiting[0][0].costs)
        self._number = len(self.waiting)

    def features(self, batch: Batch, make: Callable[[Batch], Features]) -> Features:
        """Return the features of a batch: those of an earlier part, or what is made of it.

        Raises:
            ValueError: where the data are not those that the earlier part was made from.
        """
        found = self._of_earlier(batch)
        if found is None:
            found = make(batch)
            self._add(found)
        return found

    def _of_earlier(self, batch: Batch) -> Features | None:
        if self.folder is None:
            return None
        start = self._samples
        self._samples += len(batch.ids)
        for digest_of_row in row_digests(batch):
            self._digest.update(digest_of_row)
            self._whole.update(digest_of_row)
        if not self.waiting:
            return None
        features, digest = self.waiting[0]
        if self._samples >= len(features.ids):
            if self._samples > len(features.ids) or self._digest.hexdigest() != digest:
                raise ValueError(self._foreign("other data, or another batch size"))
            self.done.append(self.waiting.pop(0)[0])
            self._digest, self._samples = hashlib.sha256(), 0
        g = features.group_size
        return features.select(slice(start // g, (start + len(batch)) // g))

    def _add(self, features: Features) -> None:
        """Take new features of the batch that was looked at last."""
        self.new.append((features, self._digest.hexdigest()))
        if self.folder is not None and time.monotonic() - self._last > PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is new to disk as one part."""
        if self.folder is None or not self.new:
            return
        part = self._joined([features for features, _ in self.new], None)
        _write(_parts_folder(self.folder) / f"{self._number:05d}", part, self.new[-1][1])
        self.done.append(part)
        self.new, self._number, self._last = [], self._number + 1, time.monotonic()
        self._digest, self._samples = hashlib.sha256(), 0

    def finish(self, spec: Spec | None, bounds: Callable[[], Bounds | None]) -> Features:
        """Join all parts and write the folder.

        Arguments:
            spec: what a sample of all the data looks like.
            bounds: tells those of the table, None where there are none; asked only if it is new.

        Raises:
            ValueError: where the data ended before the earlier parts did.
        """
        if self.waiting:
            raise ValueError(self._foreign("more data, or another batch size"))
        if self.folder is not None and not self.new and len(self.done) == 1 and self._complete():
            _remove_parts(self.folder)
            return self.done[0]
        tables = [*self.done, *(features for features, _ in self.new)]
        features = self._joined(tables, spec)
        found = bounds()
        features = features if found is None else replace(features, bounds=found)
        if self.folder is not None:
            _write(self.folder, features, self._whole.hexdigest())
            _remove_parts(self.folder)
        return features

    def _joined(self, tables: list[Features], spec: Spec | None) -> Features:
        return replace(Features.concatenate(tables), spec=spec, batch_size=self.batch_size)

    def _earlier(self, folder: Path) -> list[tuple[Features, str]]:
        sweep(folder.parent)
        found = [folder] if (folder / DIGEST).exists() else []
        if not found and folder.exists():
            raise FileExistsError(
                f"{folder} exists and holds no features of an earlier extraction; choose another"
            )
        found = found or sorted(p.parent for p in _parts_folder(folder).glob(f"[0-9]*/{DIGEST}"))
        parts = []
        for place in found:
            features = Features.load(place)
            if other := self.other(features):
                raise ValueError(self._foreign(other))
            parts.append((features, _digest_in(place, self._remedy())))
        return parts

    def _complete(self) -> bool:
        return self.folder is not None and (self.folder / DIGEST).exists()

    def _foreign(self, what: str) -> str:
        return f"{self.folder} holds features made from {what}; {self._remedy()}"

    def _remedy(self) -> str:
        return f"choose another folder, or delete it and {self.folder}.parts"


def finished(folder: Path) -> Features | None:
    """Return the features in a folder; None where none were finished."""
    if not (folder / DIGEST).exists():
        return None
    _remove_parts(folder)
    return Features.load(folder)


def row_digests(batch: Batch) -> Iterator[bytes]:
    """Yield a hash of each sample and its id, so that no batch size changes a hash of many."""
    columns = [_bytes(x) for x in values_of(batch.x)]
    for row, name in enumerate(batch.ids):
        content = b"".join(column[row].tobytes() for column in columns)
        yield hashlib.sha256(content + name.encode("utf-8", "surrogatepass")).digest()


def _bytes(x: Tensor) -> NDArray[np.uint8]:
    """Return the bytes (N, B) of the rows of a tensor."""
    flat = x.detach().cpu().contiguous().reshape(len(x), -1)
    return flat.view(torch.uint8).numpy() if flat.numel() else np.zeros((len(x), 0), np.uint8)


def _write(place: Path, features: Features, digest: str) -> None:
    """Write features and the hash of their data, both or none."""
    with whole_folder(place, overwrite=True) as temporary:
        features.save(temporary, overwrite=True)
        (temporary / DIGEST).write_text(_sealed(digest), encoding="utf-8")


def _digest_in(place: Path, again: str) -> str:
    """Return the hash of the data of a part; ``again`` says what to do where it is damaged.

    Raises:
        ValueError: where its file is damaged: other data would be blamed for it.
    """  # noqa: DOC501  (damaged() makes it)
    path = place / DIGEST
    content = path.read_bytes()
    digest = content[:64].decode("ascii", "replace")
    if content not in (_sealed(digest).encode(), digest.encode()):  # it had no checksum once
        raise damaged(path, "its checksum is not that of its content", again)
    return digest


def _sealed(digest: str) -> str:
    return f"{digest} {hashlib.sha256(digest.encode()).hexdigest()}\n"


def _remove_parts(folder: Path) -> None:
    """Remove the parts of finished features; where they are left, they were killed at this."""
    shutil.rmtree(_parts_folder(folder), ignore_errors=True)


def _parts_folder(folder: Path) -> Path:
    return folder.with_name(folder.name + ".parts")
