"""Whether the engine is exact on a device: awkward models against one backward pass per sample."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fimetric as fm
from fimetric.gradients.precision import full_precision
from fimetric.gradients.reference import squared_gradient_norms

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "gradients"))

from zoo import ZOO

RTOL = {torch.float64: 1e-9, torch.float32: 1e-3}  # kernels of another batch size round otherwise
DOUBLE_ONLY = ("complex_parameters",)


class Made(NamedTuple):
    """A model of the zoo on a device."""

    module: nn.Module
    batch: Tensor
    losses: Callable[[Tensor], Tensor]


def formats(name: str) -> list[torch.dtype]:
    """Return the number formats in which one can be built."""
    return [dtype for dtype in RTOL if dtype == torch.float64 or name not in DOUBLE_ONLY]


def made(name: str, device: str, dtype: torch.dtype) -> Made:
    """Build one; what it makes itself, there or in its forward pass, lies on the device as well."""
    torch.manual_seed(0)
    with torch.device(device):
        module, batch, losses = ZOO[name]()
    module = module if name in DOUBLE_ONLY else module.to(dtype)  # complex numbers stay

    def on_device(x: Tensor) -> Tensor:
        with torch.device(device):
            return losses(x)

    return Made(module, batch.to(dtype) if batch.is_floating_point() else batch, on_device)


def error(name: str, device: str, dtype: torch.dtype) -> float:
    """Return the largest relative error beyond rounding noise, over three batches.

    A new plan, its first reuse, and samples in another order.
    """
    with warnings.catch_warnings(), full_precision():
        warnings.simplefilter("ignore")  # of the zoo's libraries
        module, batch, losses = made(name, device, dtype)
        norms = fm.GradientNorms(module)
        parameters = [p for p in module.parameters() if p.requires_grad]
        expected = squared_gradient_norms(losses, batch.split(1), parameters)
        bound = norms.measure(losses(batch)).bound
        turned = torch.arange(len(batch) - 1, -1, -1, device=batch.device)
        return max(
            _excess(norms(losses(batch)), expected, bound),
            _excess(norms(losses(batch)), expected, bound),
            _excess(norms(losses(batch[turned])), expected[turned], bound[turned]),
        )


def _excess(found: Tensor, expected: Tensor, bound: Tensor) -> float:
    over = ((found - expected).abs() - bound).clamp_min(0)
    return float(torch.where(over == 0, over, over / expected).nan_to_num(torch.inf).max())
