"""Products of float32: whether they keep all bits, and a while in which they do.

Devices may round the factors to TF32, or to bfloat16, which PyTorch is told by flags of two kinds.
The older kind cannot be read once the newer has been set, so only the newer is used here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

EXACT = ("none", "ieee")  # none: nothing else was asked for


def exact_products() -> bool:
    """Return whether matrix products keep all bits: cancelling terms would magnify lost ones."""
    backends = torch.backends.cuda, torch.backends.mkldnn
    return all(backend.matmul.fp32_precision in EXACT for backend in backends)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute products and convolutions in float32 as such, for a while."""
    cudnn: Any = torch.backends.cudnn  # whose flags type checkers do not see
    flags: list[Any] = [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]
    kept = [flag.fp32_precision for flag in flags]
    try:
        for flag in flags:
            flag.fp32_precision = "ieee"
        yield
    finally:
        for flag, before in zip(flags, kept, strict=True):
            flag.fp32_precision = before


@contextmanager
def without_autocast(device: torch.device) -> Iterator[None]:
    """Compute in the formats that numbers have, whatever the caller's ``torch.autocast`` says.

    One that a model or a loss enters itself is part of it, and stays.
    """
    with torch.autocast(device.type, enabled=False):
        yield
