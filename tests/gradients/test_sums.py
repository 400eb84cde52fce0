"""Gradients accumulated over windows, against one graph of all windows."""

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from fimetric.gradients import GradientNorms, sums
from fimetric.gradients.contributions import squared_norms
from fimetric.gradients.reference import gradients_one_by_one


class Text(nn.Module):
    """GPT-2 with a tied head: a window of token ids (N, T) -> losses (N,)."""

    def __init__(self):
        super().__init__()
        sizes = {"vocab_size": 40, "n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 2}
        self.model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()

    def forward(self, ids):
        logits = self.model(ids).logits.float()
        return nn.functional.cross_entropy(logits[:, :-1].mT, ids[:, 1:], reduction="none").sum(1)


class Sound(nn.Module):
    """Convolutions over time, one of them weight-normed, and a parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        normed = torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3))
        self.layers = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Tanh(), normed, nn.GroupNorm(2, 4))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.layers(x).pow(3).sum((1, 2))


def text():
    return Text(), torch.randint(40, (3, 30))


def sound():
    return Sound(), torch.randn(3, 2, 30)


def of_one_graph(module, windows):
    """The squared norms (N, J) by one backward pass per sample of all windows at once."""
    losses = torch.stack([module(window) for window in windows]).sum(0)
    columns = gradients_one_by_one(losses, list(module.parameters()))
    return torch.stack([losses.new_zeros(3) if g is None else squared_norms(g) for g in columns], 1)


@pytest.mark.parametrize("held", [1 << 26, 1])  # all samples at a time, and one
@pytest.mark.parametrize("make", [text, sound])
def test_equals_one_graph_of_all_windows(make, held, monkeypatch):
    monkeypatch.setattr(sums, "HELD", held)
    torch.manual_seed(0)
    module, x = make()
    module = module.double()
    x = x.double() if x.is_floating_point() else x
    windows = x.split(12, dim=-1)  # the last is shorter
    expected = of_one_graph(module, windows)
    norms = GradientNorms(module)
    for _ in range(2):
        table = norms.accumulate(module(window) for window in windows)
        torch.testing.assert_close(
            table, expected, rtol=1e-6 if make is text else 1e-10, atol=1e-20
        )
    each = sum(norms(module(window)) for window in windows)
    assert not torch.allclose(each, expected, rtol=0.01)  # norms of windows do not add up


def test_one_window_is_the_ordinary_table():
    torch.manual_seed(0)
    module, x = sound()
    norms = GradientNorms(module)
    torch.testing.assert_close(norms.accumulate([module(x)]), norms(module(x)))


def test_windows_that_cancel_give_exact_zeros():
    module, x = sound()
    table = GradientNorms(module).accumulate(sign * module(x) for sign in (1, -1))
    assert table.shape == (3, len(list(module.parameters())))
    assert (table == 0).all()


def test_a_sample_that_has_ended_keeps_what_it_had():
    torch.manual_seed(0)
    module, ids = text()
    going_on = torch.tensor([1.0, 0.0, 1.0])
    first, second = ids[:, :12], ids[:, 12:24]
    norms = GradientNorms(module)
    table = norms.accumulate([module(first), module(second) * going_on])
    torch.testing.assert_close(table[1], norms(module(first))[1], rtol=1e-4, atol=1e-12)
    assert not torch.allclose(table[0], norms(module(first))[0], rtol=0.01)


def test_sums_of_short_numbers_are_kept_in_float32():
    module = nn.Linear(1, 1, bias=False).bfloat16()
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    table = GradientNorms(module).accumulate(module(one).float().sum(1) for _ in range(400))
    assert table.dtype == torch.float32
    assert table.item() == 400**2  # bfloat16 would stay at 256


class Doubled(torch.autograd.Function):
    """An operation that no rule knows."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


@pytest.mark.parametrize("order", [(0.0, 1.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0, 1.0)])
def test_a_window_that_outdates_the_plan_is_counted_once(order):
    """Gradients are zero at first, below an operation that no rule knows, and later are not."""
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)).double()
    xs = torch.randn(3, 5, 4, dtype=torch.float64)

    def losses(k):
        gate = torch.full((5, 1), order[k], dtype=torch.float64)
        gated = Doubled.apply(layers[0](xs[k]).tanh()) * gate
        return layers[2](layers[1](xs[k]) + gated).square().sum(1)

    found = GradientNorms(layers).accumulate(losses(k) for k in range(3))
    whole = torch.stack([losses(k) for k in range(3)]).sum(0)
    expected = gradients_one_by_one(whole, list(layers.parameters()))
    torch.testing.assert_close(found, torch.stack([squared_norms(g) for g in expected], 1))


def test_each_graph_is_freed_before_the_next_window_is_asked_for():
    module, x = sound()

    def windows():
        for window in x.split(10, dim=2):
            losses = module(window)
            yield losses
            with pytest.raises(RuntimeError, match="second time"):
                torch.autograd.grad(losses.sum(), module.layers[0].weight)

    assert GradientNorms(module).accumulate(windows()).isfinite().all()
    assert all(p.grad is None for p in module.parameters())


def test_hooks_of_parameters_apply_to_each_window():
    torch.manual_seed(0)
    module, x = nn.Linear(2, 2), torch.randn(2, 3, 2)
    expected = GradientNorms(module).accumulate(module(w).square().sum(1) for w in x)
    module.weight.register_hook(lambda g: 3 * g)
    table = GradientNorms(module).accumulate(module(w).square().sum(1) for w in x)
    torch.testing.assert_close(table, expected * torch.tensor([9.0, 1.0]))
