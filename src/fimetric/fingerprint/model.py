"""Hashes of models, taken anew only where something has changed."""

import hashlib
import weakref
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.fingerprint.digest import COMPILED, stored, update
from fimetric.fingerprint.reached import computed_with
from fimetric.fingerprint.structure import outline, structure

LOOKED_AT = 1 << 16  # entries of a tensor, about, that tell whether it has changed
PRIMES = (1, 3, 5, 7, 11, 17, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 65521, 1048573)
Unsteady = Collection[str]


def model_fingerprint(module: nn.Module, unsteady: Unsteady = ()) -> str:
    """Return a hash of all that a module is made of, 64 hexadecimal digits.

    The first 32 stand for names, shapes and values of all parameters and buffers, whether they are
    saved or not; the others for classes, plain attributes and configuration of all submodules.
    Device and training flags do not change it; a changed weight, name, number format or setting
    does.

    Arguments:
        module: a model, or an objective, which holds whatever else it computes with.
        unsteady: paths of attributes, and of buffers that are not saved, which a forward pass
            changes; they are left out.
    """
    return _of_tensors(module, unsteady) + _of_structure(module, unsteady)


def _of_tensors(module: nn.Module, unsteady: Unsteady) -> str:
    digest = hashlib.sha256()
    for name, x in _tensors(module):
        if name in unsteady:
            continue
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        update(digest, x)
    return digest.hexdigest()[:32]


def _of_structure(module: nn.Module, unsteady: Unsteady) -> str:
    told = sorted(structure(module).items())
    text = "\n".join(f"{path}: {value}" for path, value in told if path not in unsteady)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def difference(found: str, expected: str) -> str:
    """Return in words which part of two fingerprints of one version differs."""
    parts = []
    if found[:32] != expected[:32]:
        parts.append("weights or buffers")
    if found[32:] != expected[32:]:
        parts.append("classes, attributes or configuration")
    return " and ".join(parts)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    found = [*module.named_parameters(), *module.named_buffers()]
    named = [(name.replace(COMPILED, ""), x) for name, x in found]
    return iter(sorted(named, key=lambda pair: pair[0]))


class Watched:
    """The fingerprint of a module, taken anew only where something of it has changed.

    Whether a tensor has changed is told by its version counter, by where it lies and by a strided
    part of its entries: the counter sees no change through ``.data`` or a numpy view, and inference
    tensors have none.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = weakref.ref(module)
        self._seen: tuple[Any, list[Tensor], Any] = ((), [], ())
        self.changes = 0
        """How often anything was seen to have changed, such as what no fingerprint tells."""
        self._of_tensors: dict[tuple[str, ...], str] = {}  # by what is left out
        self._of_structure: dict[tuple[str, ...], str] = {}

    def fingerprint(self, unsteady: Unsteady = ()) -> str:
        """Return what ``model_fingerprint`` does."""
        module = self._module()
        assert module is not None  # whoever asks holds it
        tensors = list(_tensors(module))
        marks, parts = [_mark(name, x) for name, x in tensors], _parts([x for _, x in tensors])
        seen_marks, seen_parts, seen_outline = self._seen
        now = [*outline(module), *computed_with(module)]
        if marks != seen_marks or not all(map(torch.equal, parts, seen_parts)):
            self._of_tensors, self._of_structure = {}, {}
            self.changes += 1
        elif now != seen_outline:
            self._of_structure = {}
            self.changes += 1
        self._seen, key = (marks, parts, now), tuple(unsteady)
        if key not in self._of_tensors:
            self._of_tensors[key] = _of_tensors(module, unsteady)
        if key not in self._of_structure:
            self._of_structure[key] = _of_structure(module, unsteady)
        return self._of_tensors[key] + self._of_structure[key]


_watched: "weakref.WeakKeyDictionary[nn.Module, Watched]" = weakref.WeakKeyDictionary()


def watched_fingerprint(module: nn.Module, unsteady: Unsteady = ()) -> str:
    """Return ``model_fingerprint``, hashing the tensors only where they have changed."""
    return look(module, unsteady)[0]


def look(module: nn.Module, unsteady: Unsteady = ()) -> tuple[str, int]:
    """Return the watched fingerprint, and how often the module was seen to have changed."""
    if module not in _watched:
        _watched[module] = Watched(module)
    watched = _watched[module]
    return watched.fingerprint(unsteady), watched.changes


def _step(numel: int) -> int:
    """Return a step that passes all columns and all rows in time: a prime that no side shares."""
    least = -(-numel // LOOKED_AT)
    return next(p for p in PRIMES if p >= least and (p == 1 or numel % p))


def _mark(name: str, x: Tensor) -> tuple[Any, ...]:
    version = None if x.is_inference() else x._version
    place = x.data_ptr() if x.layout == torch.strided else None
    return name, x.dtype, tuple(x.shape), x.device, place, version, x.requires_grad


@torch.no_grad()
def _parts(tensors: list[Tensor]) -> list[Tensor]:
    """Return the bits of some entries of each tensor, joined by number format and device."""
    joined: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    dense = [part for x in tensors if not x.is_meta for part in stored(x) if part.numel()]
    for x in dense:
        flat = (torch.view_as_real(x) if x.is_complex() else x).reshape(-1)
        joined.setdefault((x.dtype, x.device), []).append(flat[:: _step(flat.numel())])
    return [torch.cat(parts).view(torch.uint8).clone() for parts in joined.values()]
