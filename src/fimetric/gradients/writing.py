"""In-place writing into a view: the operation does not say where, but shows it when it is called.

Given a gradient with another number at each place, it hands on the numbers at the places that it
has written.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

WRITING = "CopySlices"
DISTINCT = 1 << 22  # square roots that are other numbers in float32


def shows_places(node: Any) -> bool:
    """Return whether its numbers have bits enough to tell its places apart."""
    shape, kind, _ = _kind(node)
    return kind.itemsize >= 4 and shape.numel() < DISTINCT


def written(node: Any) -> list[Tensor | None]:
    """Return, for each tensor that was written, the numbers of the places: the same, no move."""
    return list(node(_numbers(*_kind(node)))[1:])


def places(node: Any, input_: int) -> Tensor | None:
    """Return where each entry of an input was written, counted through the output.

    None where an entry is written to several places, or is not merely copied.
    """
    shape, kind, device = _kind(node)
    numbers = written(node)[input_ - 1]
    copied = node(torch.ones(shape, dtype=kind, device=device))[input_]
    if numbers is None or copied is None or not bool((copied == 1).all()):
        return None
    found = numbers.real.double().square().round().long() - 1
    known = (found >= 0) & (found < shape.numel())
    same = _numbers(shape, kind, device).flatten()[found * known] == numbers
    return found if bool((known & same).all()) else None


def _kind(node: Any) -> tuple[torch.Size, torch.dtype, torch.device]:
    m = node._input_metadata[0]
    return torch.Size(m.shape), m.dtype, m.device


@lru_cache(maxsize=4)
def _numbers(shape: torch.Size, kind: torch.dtype, device: torch.device) -> Tensor:
    """Return square roots: few sums of some are another one."""
    roots = torch.arange(1, shape.numel() + 1, dtype=torch.float64, device="cpu").sqrt()
    return roots.to(device, kind).view(shape)
