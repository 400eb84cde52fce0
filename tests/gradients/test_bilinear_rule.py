"""Bilinear layers, against the loop."""

import pytest
import torch
from against_loop import assert_equals_the_loop, no_calls
from torch import nn

from fimetric.gradients import GradientNorms

I, K, O = 3, 2, 4


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    torch.manual_seed(0)
    no_calls(monkeypatch)


@pytest.mark.parametrize("shape", [(1,), (2,), (O,), (5, 6), (4, 2, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_the_loop(shape, bias):
    """Also with as many samples as features on any side."""
    module = nn.Bilinear(I, K, O, bias=bias, dtype=torch.float64)

    def losses(x):
        return module(x[..., :I], x[..., I:]).pow(3).flatten(1).sum(1)

    batches = [torch.randn(*shape, I + K, dtype=torch.float64) for _ in range(3)]
    assert_equals_the_loop(module, losses, batches)


def test_rows_time_first():
    module = nn.Bilinear(I, K, O, dtype=torch.float64)

    def losses(x):
        x = x.transpose(0, 1).contiguous()
        return module(x[..., :I], x[..., I:]).pow(3).sum((0, 2))

    assert_equals_the_loop(
        module, losses, [torch.randn(5, 4, I + K, dtype=torch.float64) for _ in range(2)]
    )


def test_features_of_a_layer_below_and_one_weight_for_two_layers():
    module = nn.ModuleList([nn.Linear(6, I), nn.Bilinear(I, I, I, bias=False)]).double()

    def losses(x):
        h = module[0](x)
        h = nn.functional.bilinear(h, h.tanh(), module[1].weight)
        return nn.functional.bilinear(h, h, module[1].weight).square().sum(1)

    assert_equals_the_loop(module, losses, [torch.randn(I, 6, dtype=torch.float64) for _ in "ab"])


def test_zeros():
    module = nn.Bilinear(I, K, O, dtype=torch.float64)
    x = torch.randn(4, I + K, dtype=torch.float64)
    x[1, :I], x[2] = 0, 0
    assert_equals_the_loop(module, lambda x: module(x[:, :I], x[:, I:]).pow(2).sum(1), [x, x + 1])


def test_rows_that_cancel():
    """The Gram form in float32 would lose what is left of two rows of opposite signs."""
    F = 24  # features on all three sides
    module = nn.Bilinear(F, F, F, bias=False)
    x = torch.randn(3, 1, 2 * F).expand(3, 2, 2 * F) + 1e-4 * torch.randn(3, 2, 2 * F)
    weight = torch.randn(3, 1, F) * torch.tensor([[1.0], [-1.0]])
    table = GradientNorms(module)((module(x[..., :F], x[..., F:]) * weight).sum((1, 2)))
    pairs = torch.einsum("nti,ntk->ntik", x[..., :F].double(), x[..., F:].double())
    expected = torch.einsum("nto,ntik->noik", weight.double(), pairs).square().sum((1, 2, 3))
    torch.testing.assert_close(table[:, 0].double(), expected, rtol=1e-3, atol=0)


def test_the_plan_is_kept(monkeypatch):
    """No data moves rows in it, so the colours hold for the next batch."""
    module = nn.Sequential(nn.Linear(2 * I, 2 * I), nn.Unflatten(1, (2, I)))
    bilinear = nn.Bilinear(I, I, O)
    norms = GradientNorms(nn.ModuleList([module, bilinear]))

    def losses():
        h = module(torch.randn(5, 2 * I))
        return bilinear(h[:, 0].contiguous(), h[:, 1].contiguous()).square().sum(1)

    norms(losses())
    monkeypatch.setattr("fimetric.gradients.engine.make_plan", None)
    norms(losses())
