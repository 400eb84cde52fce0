"""A rule against the loop over samples, on batches of several kinds."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from fimetric.gradients import GradientNorms, reader
from fimetric.gradients.contributions import squared_norms
from fimetric.gradients.reference import gradients_one_by_one


def table_by_loop(losses: Tensor, parameters: list[Tensor]) -> Tensor:
    """The table by one backward pass per sample, (N, J)."""
    columns = [
        losses.new_zeros(len(losses)) if g is None else squared_norms(g)
        for g in gradients_one_by_one(losses, parameters)
    ]
    return torch.stack(columns, 1)


def assert_equals_the_loop(
    module: nn.Module, losses: Callable[..., Tensor], batches: Iterable, rtol: float = 1e-10
) -> None:
    """The engine's table of every batch, by plans that are made and by plans that are reused."""
    norms = GradientNorms(module)
    for batch in batches:
        expected = table_by_loop(losses(batch), list(module.parameters()))
        bound = norms.measure(losses(batch)).bound
        assert (expected > 0).any()
        for _ in range(2):
            table = norms(losses(batch))
            same = table.isnan() & expected.isnan() | (table == expected)
            excess = (table - expected).abs() - rtol * expected - bound
            assert (same | (excess <= 0)).all(), excess.max()


def no_calls(monkeypatch) -> None:
    """Fail where an operation is called once per sample."""

    def called(tap, measure):
        raise AssertionError(f"{tap.node.name()} is called")

    monkeypatch.setattr(reader, "called", called)
