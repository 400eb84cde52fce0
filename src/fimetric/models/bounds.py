"""Is a description of a model one that its weights can fill? Told before anything large is made."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

LARGEST = 1_000_000  # of any size in a configuration
SLACK = 1000  # tensors that may be missing before building ends; which ones is told then
WRONG = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AssertionError)


def check_numbers(config: Mapping[str, Any]) -> None:
    """Check that all sizes in a configuration are from 1 to a million, and other numbers finite.

    Raises:
        ValueError: naming the setting.
    """
    for name, value in config.items():
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) is int and not 1 <= number <= LARGEST:
                raise ValueError(f"{name} must be from 1 to {LARGEST:,}, got {number}")
            if type(number) is float and not math.isfinite(number):
                raise ValueError(f"{name} must be finite, got {number}")


def check_fit(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Check, without memory for the weights, that a model can be made and has these tensors.

    Raises:
        ValueError: naming the file in the folder that is wrong.
    """
    try:
        with torch.device("meta"), _at_most(len(tensors) + SLACK):
            expected = make().state_dict()
    except WRONG as error:
        raise ValueError(f"{folder / 'config.json'} describes no model: {error}") from error
    wrong = _difference(expected, tensors)
    if wrong:
        raise ValueError(f"{folder / 'model.safetensors'} does not fit its config.json: {wrong}")


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Stop this thread where it makes modules of more parameters than ``count``."""
    made, thread = [], threading.get_ident()

    def register(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() == thread:
            made.append(name)
            if len(made) > count:
                raise ValueError(f"it has more than {count} tensors")

    hook = register_module_parameter_registration_hook(register)
    try:
        yield
    finally:
        hook.remove()


def _difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or extra:
        example = min(missing | extra)
        return f"{len(missing)} tensors missing, {len(extra)} unknown, such as {example}"
    for name, tensor in found.items():
        shape, wanted = tuple(tensor.shape), tuple(expected[name].shape)
        if shape != wanted:
            return f"{name} has shape {shape}, config.json says {wanted}"
    return None
