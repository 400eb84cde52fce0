"""What a module is beside its tensors: classes, plain attributes and configuration, as text.

Two models of the same weights can still compute different losses: another activation, an epsilon,
a rotary base, a scheduler's settings. All of it that is data is told here, by the path of its
module. What is code, such as the body of a function, is not: see ``fimetric.features.probe``.
"""

import enum
import functools
import hashlib
import json
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fimetric.fingerprint.digest import COMPILED, update

PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes, torch.dtype))
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
DEPTH = 6  # of objects within objects
# Attributes and entries of a configuration that tell how a model was made, or where it is, and
# change no loss.
NOT_TOLD = frozenset(
    (
        *("training", "device", "device_map", "dtype", "torch_dtype", "gradient_checkpointing"),
        *("architectures", "base_model_prefix", "name_or_path", "transformers_version"),
        *("generation_config", "use_cache", "base_model_name_or_path", "gguf_file"),
    )
)


class Passing:
    """What stands in for a method of a module for a while, and is no part of it."""


def structure(module: nn.Module) -> dict[str, str]:
    """Return path -> text of every class, plain attribute and configuration of a module.

    Attributes that begin with an underscore are caches and bookkeeping, and are left out.
    """
    found: dict[str, str] = {}
    told: dict[int, str | None] = {}  # a configuration is shared by a hundred submodules
    for path, part in _parts(module):
        found[path] = type(part).__name__
        for name, p in part._parameters.items():
            if p is not None and not p.requires_grad:
                found[f"{path}.{name}"] = "frozen"
            if p is not None and p._backward_hooks:
                found[f"{path}.{name} hooks"] = _of_sequence([*p._backward_hooks.values()], DEPTH)
        for name, value in vars(part).items():
            if name.startswith("_") or name in NOT_TOLD or _derived(part, name):
                continue
            if isinstance(value, Passing):
                continue
            text = told[id(value)] if id(value) in told else plain(value)
            told[id(value)] = text
            if text is not None:
                found[f"{path}.{name}"] = text
    return found


def outline(module: nn.Module) -> list[Any]:
    """Return what ``structure`` would tell, quickly and not as text: equal where it is equal."""
    found: list[Any] = []
    for _, part in _parts(module):
        found.append(type(part))
        for name, value in vars(part).items():
            kind = type(value)
            if isinstance(value, Passing):
                continue
            if kind in PLAIN:  # caches and flags too: what has changed is looked at
                found += (name, kind, value)
            elif name in HOOKS:
                found += (name, *value)
            elif name[0] != "_" and name not in NOT_TOLD and not _derived(part, name):
                found += (name, kind, _value(value) if kind is Tensor else plain(value))
        for p in part._parameters.values():
            found.append(None if p is None else tuple(p._backward_hooks or ()))
    return found


def _value(x: Tensor) -> object:
    return x.tolist() if x.numel() <= 1 else plain(x)


def state(module: nn.Module) -> dict[str, str]:
    """Return path -> text of what a forward pass may change though the losses stay as they are.

    These are the structure, and the buffers that a module does not save, such as caches.
    """
    saved = module.state_dict().keys()
    caches = {name: str(plain(x)) for name, x in module.named_buffers() if name not in saved}
    return {**structure(module), **caches}


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts by their paths, those of a compiled module by the original's."""
    for path, part in module.named_modules():
        if part is original(part):
            yield f"{path}.".replace(COMPILED, "").removesuffix("."), part


def original(module: nn.Module) -> nn.Module:
    """Return the module itself, or the one that torch.compile has wrapped in it."""
    return getattr(module, "_orig_mod", module)


def _derived(part: nn.Module, name: str) -> bool:
    """Return whether an attribute is made of parameters, as weight_norm and its like do."""
    return f"{name}_g" in part._parameters or f"{name}_orig" in part._parameters


def changed(before: dict[str, str], after: dict[str, str]) -> tuple[str, ...]:
    """Return the paths, sorted, at which two structures differ."""
    paths = before.keys() | after.keys()
    return tuple(sorted(path for path in paths if before.get(path) != after.get(path)))


_FILLED: "weakref.WeakKeyDictionary[nn.Module, dict[str, str]]" = weakref.WeakKeyDictionary()


def unsteady(objective: nn.Module, model: nn.Module, before: dict[str, str]) -> tuple[str, ...]:
    """Return the paths, sorted, that a forward pass changes: this one, or an earlier one.

    A cache is filled once; it is left out of later fingerprints too, as long as it holds the same.

    Arguments:
        objective: what is told.
        model: the one in it, by which an earlier pass is remembered.
        before: the objective's ``state`` of before the pass.
    """
    after, filled = state(objective), _FILLED.setdefault(original(model), {})
    now = changed(before, after)
    kept = (path for path, value in filled.items() if after.get(path) == value)
    found = tuple(sorted({*now, *kept}))
    filled.update({path: after[path] for path in now if path in after})
    return found


def plain(value: Any, depth: int = DEPTH) -> str | None:
    """Return a value as text that says the same in every process, None where there is none."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if depth == 0:
        return type(value).__name__
    for kinds, say in _SAYINGS:
        if isinstance(value, kinds):
            return say(value, depth - 1)
    return _of_object(value, depth - 1)


def _of_tensor(value: Tensor, depth: int) -> str | None:
    if value.numel() <= 1 or (value.requires_grad and not value.is_leaf):
        return None  # flags that a state does not bring back, and what a forward pass left behind
    if value.is_meta:
        return f"tensor {value.dtype} {tuple(value.shape)}"
    digest = hashlib.sha256()
    update(digest, value)
    return f"tensor {value.dtype} {tuple(value.shape)} {digest.hexdigest()}"


def _of_array(value: np.ndarray, depth: int) -> str:
    content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
    return f"array {value.dtype} {value.shape} {hashlib.sha256(content).hexdigest()}"


def _of_mapping(value: Mapping[Any, Any], depth: int) -> str:
    told = {
        str(key): plain(entry, depth)
        for key, entry in value.items()
        if not (str(key).startswith("_") or key in NOT_TOLD)
    }
    return json.dumps(told, sort_keys=True)


def _of_sequence(value: Sequence[Any], depth: int) -> str:
    return json.dumps([plain(entry, depth) for entry in value])


def _of_set(value: Set[Any], depth: int) -> str:
    return json.dumps(sorted(str(plain(entry, depth)) for entry in value))


def _of_partial(value: functools.partial[Any], depth: int) -> str:
    return f"partial {_of_sequence([value.func, value.args, value.keywords], depth)}"


def _of_module(value: nn.Module, depth: int) -> str | None:
    """A module that stands in a list, say: its own attributes and tensors."""
    if id(value) in _VISITED:  # it holds its parent
        return type(value).__name__
    _VISITED.add(id(value))
    try:
        return _of_whole_module(value, depth)
    finally:
        _VISITED.discard(id(value))


_VISITED: set[int] = set()


def _of_whole_module(value: nn.Module, depth: int) -> str:
    tensors = [*value.named_parameters(), *value.named_buffers()]
    return _of_mapping({**structure(value), **{f"tensor {k}": x for k, x in tensors}}, depth)


def named(function: Any) -> str:
    """Return the module and the qualified name of a function, method or class.

    >>> import dataclasses
    >>> named(functools.reduce), named(dataclasses.asdict)
    ('_functools.reduce', 'dataclasses.asdict')
    """
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if name is None:
        return type(function).__qualname__
    module = getattr(function, "__module__", None) or type(owner).__module__
    return f"{module}.{name}"


def _of_object(value: Any, depth: int) -> str | None:
    """Return what an object of a class of its own says: its configuration, else its attributes."""
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return named(value)
    if callable(getattr(value, "get_vocab", None)):
        return f"{type(value).__name__} {_of_mapping(dict(tokenizer_parts(value)), depth)}"
    if callable(getattr(value, "to_dict", None)):
        return f"{type(value).__name__} {_of_mapping(value.to_dict(), depth)}"
    config = getattr(value, "config", None)
    told = {"config": config} if config is not None else getattr(value, "__dict__", None)
    if told is None:  # of a class with slots, such as a fraction
        text = repr(value)
        return type(value).__name__ if " at 0x" in text else text
    return f"{type(value).__name__} {_of_mapping(told, depth)}"


def tokenizer_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a tokenizer's files hold, but not how it pads and cuts, which its calls change."""
    yield "vocabulary", dict(value.get_vocab())
    yield "special", {k: str(v) for k, v in getattr(value, "special_tokens_map", {}).items()}
    rust = getattr(value, "backend_tokenizer", value)
    if callable(getattr(rust, "to_str", None)):
        content = json.loads(rust.to_str())
        content.pop("padding", None)
        content.pop("truncation", None)
        yield "rules", content


_SAYINGS: tuple[tuple[Any, Callable[[Any, int], str | None]], ...] = (
    (Tensor, _of_tensor),
    (np.ndarray, _of_array),
    (nn.Module, _of_module),
    (functools.partial, _of_partial),
    ((enum.Enum, np.generic, torch.dtype, torch.Size, range, slice), lambda v, _: str(v)),
    (torch.device, lambda v, _: None),
    (Mapping, _of_mapping),
    (Set, _of_set),
    ((list, tuple), _of_sequence),
)
