"""Fingerprints: has this model, have these data, been seen before?"""

import hashlib
import weakref
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

LOOKED_AT = 1 << 10  # entries of a tensor, at most, that tell whether it has changed
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
    from fimetric.structure import structure

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
    return iter(sorted(found, key=lambda pair: pair[0]))


def update(digest: "hashlib._Hash", x: Tensor) -> None:
    """Add the bytes of a tensor to a hash."""
    flat = x.detach().cpu().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")


class Watched:
    """The fingerprint of a module, taken anew only where something of it has changed.

    Whether a tensor has changed is told by its version counter, by where it lies and by a strided
    part of its entries: the counter sees no change through ``.data`` or a numpy view, and inference
    tensors have none.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = weakref.ref(module)
        self._seen: tuple[Any, list[Tensor], Any] = ((), [], ())
        self._of_tensors: dict[tuple[str, ...], str] = {}  # by what is left out
        self._of_structure: dict[tuple[str, ...], str] = {}

    def fingerprint(self, unsteady: Unsteady = ()) -> str:
        """Return what ``model_fingerprint`` does."""
        from fimetric.structure import outline

        module = self._module()
        assert module is not None  # whoever asks holds it
        tensors = list(_tensors(module))
        marks, parts = [_mark(name, x) for name, x in tensors], _parts([x for _, x in tensors])
        seen_marks, seen_parts, seen_outline = self._seen
        if marks != seen_marks or not all(map(torch.equal, parts, seen_parts)):
            self._of_tensors = {}
        now = outline(module)
        if now != seen_outline:
            self._of_structure = {}
        self._seen, key = (marks, parts, now), tuple(unsteady)
        if key not in self._of_tensors:
            self._of_tensors[key] = _of_tensors(module, unsteady)
        if key not in self._of_structure:
            self._of_structure[key] = _of_structure(module, unsteady)
        return self._of_tensors[key] + self._of_structure[key]


_watched: "weakref.WeakKeyDictionary[nn.Module, Watched]" = weakref.WeakKeyDictionary()


def watched_fingerprint(module: nn.Module, unsteady: Unsteady = ()) -> str:
    """Return ``model_fingerprint``, hashing the tensors only where they have changed."""
    if module not in _watched:
        _watched[module] = Watched(module)
    return _watched[module].fingerprint(unsteady)


def _mark(name: str, x: Tensor) -> tuple[Any, ...]:
    version = None if x.is_inference() else x._version
    return name, x.dtype, tuple(x.shape), x.device, x.data_ptr(), version


@torch.no_grad()
def _parts(tensors: list[Tensor]) -> list[Tensor]:
    """Return the bits of some entries of each tensor, joined by number format and device."""
    joined: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for x in tensors:
        if x.numel() and not x.is_meta:
            flat = torch.view_as_real(x).reshape(-1) if x.is_complex() else x.reshape(-1)
            step = -(-flat.numel() // LOOKED_AT)
            part = flat if step == 1 else flat[::step]
            joined.setdefault((x.dtype, x.device), []).append(part)
    return [torch.cat(parts).view(torch.uint8).clone() for parts in joined.values()]
