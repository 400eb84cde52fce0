"""Numbers with a version on disk: named arrays in safetensors, all else in JSON, both sealed.

A kind of archive is a pair of files in a folder: ``NAME.json``, which says what it is, in which
version, and holds the values of one struct; and ``NAME.safetensors`` with the arrays, if there are
any. Each file carries a hash of all that it says, and the first one that of the second, so a
flipped bit, a file of another archive or a hand's edit is told when it is read. Nothing that was
read can run code, and nothing of another type than the struct's gets through.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

LARGEST_JSON = 1 << 28  # bytes; a million ids of a hundred characters are 10^8
LARGEST_HEADER = 100_000_000  # bytes, the limit of the format itself
SEAL = "sha256"

Struct = TypeVar("Struct", bound=msgspec.Struct)
Arrays = dict[str, NDArray[Any]]


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    version: int
    sha256: str
    arrays: str | None
    content: msgspec.Raw


class _Marked(msgspec.Struct):
    version: Any = None


@dataclass(frozen=True)
class Kind(Generic[Struct]):
    """One kind of archive.

    Arguments:
        name: of its files, without ending.
        version: of the format; another one is refused when it is read.
        content: struct of what the JSON file holds; its types are checked strictly.
        again: what to do where a file is damaged or of another version, such as "extract again".
    """

    name: str
    version: int
    content: type[Struct]
    again: str

    def write(self, folder: Path, content: Struct, payload: bytes | None = None) -> None:
        """Write both files into a folder that exists.

        Arguments:
            folder: one that is put in its place as a whole, see ``fimetric.store.files``.
            content: what the JSON file holds.
            payload: what the other file holds, as ``pack`` or ``safetensors.torch.save`` give it.
        """
        arrays = None
        if payload is not None:
            sealed = seal(payload)
            arrays = hashlib.sha256(sealed).hexdigest()
            (folder / f"{self.name}.safetensors").write_bytes(sealed)
        (folder / f"{self.name}.json").write_bytes(self.encode(content, arrays))

    def encode(self, content: Struct, arrays: str | None = None) -> bytes:
        """Return what the JSON file holds; ``arrays`` is the hash of the other one."""
        text = msgspec.json.encode(content)
        envelope = _Envelope(
            self.name, self.version, self._hash(text, arrays), arrays, msgspec.Raw(text)
        )
        return msgspec.json.format(msgspec.json.encode(envelope), indent=1) + b"\n"

    def read(self, folder: Path) -> tuple[Struct, bytes | None]:
        """Return what ``write`` was given.

        Raises:
            FileNotFoundError: where there is no such JSON file.
            ValueError: naming the file that is damaged, missing beside it, of another kind or of
                another version.
        """
        path = folder / f"{self.name}.json"
        envelope = self._open(path)
        if self._hash(bytes(envelope.content), envelope.arrays) != envelope.sha256:
            raise self.damaged(path, "its checksum is not that of its content")
        try:
            content = msgspec.json.decode(envelope.content, type=self.content)
        except (ValueError, RecursionError, TypeError) as error:  # ValueError: a struct's own check
            raise self.damaged(path, error) from error
        if envelope.arrays is None:
            return content, None
        place = folder / f"{self.name}.safetensors"
        if not place.exists():
            raise self.damaged(place, "it is missing")
        payload = place.read_bytes()
        if hashlib.sha256(payload).hexdigest() != envelope.arrays:
            raise self.damaged(place, f"its checksum is not the one in {path.name}")
        return content, unseal(payload, place, self.again)

    def _open(self, path: Path) -> _Envelope:
        if path.stat().st_size > LARGEST_JSON:
            raise self.damaged(path, f"it has more than {LARGEST_JSON >> 20} MiB")
        text = path.read_bytes()
        try:
            version = msgspec.json.decode(text, type=_Marked).version
            if version != self.version:
                raise ValueError(
                    f"{path} is of version {version!r}, this fimetric reads version "
                    f"{self.version}; use the release that wrote it, or {self.again}"
                )
            envelope = msgspec.json.decode(text, type=_Envelope)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise self.damaged(path, error) from error
        if envelope.kind != self.name:
            raise self.damaged(path, f"it holds {envelope.kind!r}, not {self.name!r}")
        return envelope

    def _hash(self, content: bytes, arrays: str | None) -> str:
        # of the values, not of their layout: indented JSON says the same
        values = msgspec.json.format(content, indent=-1)
        return hashlib.sha256(f"{self.name} {self.version} {arrays} ".encode() + values).hexdigest()

    def damaged(self, path: Path, why: object) -> ValueError:
        """Return what to raise of a file that is not what was written."""
        return damaged(path, why, self.again)


def damaged(path: Path, why: object, again: str) -> ValueError:
    """Return what to raise of a file that is not what was written, saying what to do."""
    return ValueError(f"{path} is damaged ({why}); {again}")


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return named arrays as the content of a safetensors file."""
    return safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in arrays.items()})


def unpack(payload: bytes, path: Path, again: str) -> Arrays:
    """Return the named arrays in the content of a safetensors file.

    Raises:
        ValueError: naming the file, where it is damaged.
    """  # noqa: DOC501  (damaged() makes it)
    try:
        return safetensors.numpy.load(payload)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error, again) from error


def seal(payload: bytes) -> bytes:
    """Return the content of a safetensors file with a hash of itself beside its other metadata.

    So a file that is replaced by itself, such as the weights of a model while it is trained, tells
    damage without a second file. Every reader of safetensors still reads it.
    """
    header, data = _split(payload)
    header, _ = _without_seal(header)
    metadata = {**header.get("__metadata__", {}), SEAL: _seal_of(header, data)}
    marked = {**header, "__metadata__": metadata}
    text = json.dumps(marked, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned
    return len(text).to_bytes(8, "little") + text + data


def unseal(payload: bytes, path: Path, again: str, allow_unsealed: bool = False) -> bytes:
    """Return the content of a sealed file, checked.

    Arguments:
        payload: the file.
        path: its name, for messages.
        again: what to do where it is damaged.
        allow_unsealed: take a file without a seal, of an earlier version, as it is.

    Raises:
        ValueError: naming the file, where its seal is broken or missing.
    """  # noqa: DOC501  (damaged() makes it)
    try:
        header, data = _split(payload)
        header, found = _without_seal(header)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error, again) from error
    if found is None and not allow_unsealed:
        raise damaged(path, "it has no checksum", again)
    if found is not None and found != _seal_of(header, data):
        raise damaged(path, "its checksum is not that of its content", again)
    return payload


def _split(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the data of a safetensors file.

    Raises:
        ValueError: for what is no safetensors file, cut off, or has a header that is no table.
    """
    size = int.from_bytes(payload[:8], "little")
    if len(payload) < 8 or not 0 < size <= min(LARGEST_HEADER, len(payload) - 8):
        raise ValueError("it is no safetensors file, or cut off")
    header = json.loads(payload[8 : 8 + size])
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    return header, payload[8 + size :]


def _without_seal(header: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return a header with its other metadata alone, if there are any, and the seal."""
    metadata = dict(header.get("__metadata__", {}))
    seal = metadata.pop(SEAL, None)
    rest = {key: value for key, value in header.items() if key != "__metadata__"}
    return ({**rest, "__metadata__": metadata} if metadata else rest), seal


def _seal_of(header: Mapping[str, Any], data: bytes) -> str:
    text = json.dumps(header, sort_keys=True)
    return hashlib.sha256(text.encode() + hashlib.sha256(data).digest()).hexdigest()
