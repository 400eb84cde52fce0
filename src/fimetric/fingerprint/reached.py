"""What a loss computes with beside its model: what its function closes over, and globals.

None of it is hashed, for code is no data; where a mark of it has changed, the losses of made-up
rows are asked for again.
"""

import dis
from collections.abc import Iterator, Sized
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fimetric.fingerprint.structure import plain

MANY = 10_000  # entries of a value; more are not looked at


def computed_with(objective: nn.Module) -> Iterator[Any]:
    """Yield marks of what an objective's function computes with besides its own model."""
    for value in _reached(getattr(objective, "function", None), set()):
        if value is getattr(objective, "module", None):
            continue
        try:
            yield _mark(value)
        except Exception:  # whatever objects of others raise where they are looked at
            yield type(value).__name__, id(value)


def _mark(value: Any) -> Any:
    """Return what changes with a value, quickly."""
    if isinstance(value, nn.Module):
        tensors = [*value.named_parameters(), *value.named_buffers()]
        return [(name, _mark_of_tensor(x)) for name, x in tensors]
    if isinstance(value, Tensor):
        return _mark_of_tensor(value)
    if (
        isinstance(value, Sized)
        and not isinstance(value, str | bytes | np.ndarray)
        and len(value) > MANY
    ):
        return type(value).__name__, id(value), len(value)
    return plain(value)


def _mark_of_tensor(x: Tensor) -> Any:
    if x.layout == torch.strided and not (x.is_meta or x.is_quantized or x.is_nested):
        return x.data_ptr(), repr(x.detach().sum().item())  # nan is no nan's equal
    return plain(x)


def _reached(function: Any, seen: set[Any]) -> Iterator[Any]:
    """Yield what a function reaches by itself: what it closes over, globals, what it belongs to.

    Functions of the same file that it calls are followed; libraries stay as they are.
    """
    owner, function = getattr(function, "__self__", None), getattr(function, "__func__", function)
    values = []
    if isinstance(owner, nn.Module):
        values.append(owner)
    elif owner is not None and not isinstance(owner, type | ModuleType):
        values += getattr(owner, "__dict__", {}).values()
    if isinstance(function, FunctionType) and function not in seen:
        seen.add(function)
        names = sorted(set(_names(function.__code__)) & function.__globals__.keys())
        values += [function.__globals__[name] for name in names]
        values += _cells(function)
    for value in values:
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            yield from _reached(value, seen)
        if not isinstance(value, type | ModuleType):
            yield value


def _cells(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _names(code: CodeType) -> Iterator[str]:
    """Yield the globals that code reads, and functions inside it."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
