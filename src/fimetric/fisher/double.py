"""A computation in float64 on a module that stays as it is."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

Result = TypeVar("Result")


def in_double(module: nn.Module, job: Callable[[], Result]) -> Result:
    """Return what ``job`` returns while float64 copies stand for the module's tensors.

    A deep copy of a model would not do: what computes a loss may be a closure over the model, and
    would go on with the original's parameters. So parameters and buffers are exchanged until the
    job is done, or fails. Copies of trainable parameters are leaves that gradients can be taken by.

    Arguments:
        module: what the job computes with.
        job: takes nothing; its result must not need the module's own tensors.
    """
    holder: Any = _Holder(module)
    # Each module once: one that is exchanged under two names would not be put back.
    return functional_call(holder, _copies(holder), (job,), tie_weights=False)


def _copies(module: nn.Module) -> dict[str, Tensor]:
    """Return float64 copies under the names of all places; tied places share theirs."""
    copies: dict[int, Tensor] = {}
    found = {}
    for path, each in module.named_modules():
        own = [*each.named_parameters(recurse=False), *each.named_buffers(recurse=False)]
        for name, tensor in own:
            if id(tensor) not in copies:
                copies[id(tensor)] = _copy(tensor)
            found[f"{path}.{name}"] = copies[id(tensor)]
    return found


class _Holder(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, job: Callable[[], Result]) -> Result:
        return job()


def _copy(tensor: Tensor) -> Tensor:
    kind = tensor.dtype
    if tensor.is_floating_point() or tensor.is_complex():
        kind = torch.complex128 if tensor.is_complex() else torch.float64
    return tensor.detach().to(kind, copy=True).requires_grad_(tensor.requires_grad)
