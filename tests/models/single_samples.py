"""The norms of a batch against those of its samples, one backward pass each."""

from collections.abc import Callable

import torch
from torch import Tensor

import fimetric as fm
from fimetric.objectives import Objective


def assert_norms_are_those_of_single_samples(
    objective: Objective,
    alone: Callable[[Tensor], Tensor],
    x: Tensor,
    caplog,
    rtol: float = 1e-9,
    atol: float = 0,
) -> Tensor:
    """Compare in float64, where sums are in another order; the engine must not say it is slow.

    ``alone`` gives the loss of a batch of one sample, (1,). Returns the norms.
    """
    with caplog.at_level("DEBUG"):
        found = fm.GradientNorms(objective.module)(objective(x))
    assert caplog.messages == []
    parameters = list(objective.module.parameters())
    expected = [
        [g.square().sum() for g in torch.autograd.grad(alone(v[None])[0], parameters)] for v in x
    ]
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=rtol, atol=atol)
    return found
