"""How many samples go through a model at once, where nobody says: as many as memory holds."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives.base import Objective
from fimetric.objectives.steadiness import unchanged

MOST = 64  # samples; more make a CPU no faster
SHARE = 0.25  # of the free memory that a batch's graph may take


def batch_size_for(objective: Objective, sample: Input) -> int:
    """Return the largest power of two, at most ``MOST``, of samples whose graph fits into memory.

    Arguments:
        objective: whose losses are differentiated.
        sample: a batch of one.

    Raises:
        RuntimeError: where the forward pass changes the model.
    """
    with unchanged(objective):
        try:
            needed = graph_bytes(objective, sample)
        except torch.OutOfMemoryError:
            return 1
        except Exception:  # whatever the model raises is raised again, with names, by the batch
            return MOST
    free = SHARE * free_bytes(next(objective.module.parameters()).device)
    fitting = min(float(MOST), free / max(needed, 1))
    return 1 << max(int(fitting), 1).bit_length() - 1


def graph_bytes(objective: Objective, sample: Input) -> int:
    """Return the bytes that the largest graph of one view keeps for its backward pass."""
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in objective.module.parameters()}

    def note(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    found = 0
    for view in objective.views():
        kept.clear()
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, _same):
            losses = objective.losses(view, sample)  # held: freed memory would be counted twice
        found = max(found, sum(kept.values()))
        del losses
    return found


def _same(x: Any) -> Any:
    return x


def free_bytes(device: torch.device) -> float:
    """Return the memory that is free, infinite where that cannot be told."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024.0 * next(int(s.split()[1]) for s in lines if s.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return math.inf
