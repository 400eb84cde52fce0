"""Checkpointed models: exact, by one backpropagation, one region at a time in memory."""

import logging
import weakref
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from against_loop import no_calls, table_by_loop
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential, set_checkpoint_early_stop
from zoo import Scale

from fimetric.gradients import GradientNorms, checkpoints, colouring, engine
from fimetric.gradients.graph import read_graph

N, I = 5, 4


def plainly(function, *inputs):
    return function(*inputs)


def saving(function, *inputs):
    return checkpoint(function, *inputs, use_reentrant=False)


def saving_all(function, *inputs):
    """The region runs to its end, and what it computes anew is not compared with what it was."""
    with set_checkpoint_early_stop(False):
        return checkpoint(function, *inputs, use_reentrant=False, determinism_check="none")


class Blocks(nn.Module):
    """Residual blocks of what has a rule, each in a region of its own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(I, I)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(I, 2 * I), nn.Unflatten(1, (I, 2)), nn.GroupNorm(2, I), nn.Conv1d(I, I, 2)
            )
            for _ in range(3)
        )

    def forward(self, x, region):
        h = self.first(x)
        for block in self.blocks:
            h = h + region(lambda h, block=block: block(h).flatten(1).tanh(), h)
        return h.square().sum(1)


class Nested(Blocks):
    def forward(self, x, region):
        def outer(h):
            for block in self.blocks:
                h = region(lambda h, block=block: block(h).flatten(1).tanh(), h)
            return h * self.first.bias

        return region(outer, self.first(x)).square().sum(1)


class Lowest(nn.Module):
    """Parameters that meet the data first, and a branch that does not reach it."""

    def __init__(self):
        super().__init__()
        self.layer, self.other = nn.Linear(I, I), nn.Linear(I, I)
        self.time = nn.Parameter(torch.randn(1, I))

    def forward(self, x, region):
        def both(x):
            return self.layer(x).tanh() * self.other(self.time.expand(len(x), -1)).sigmoid()

        return region(both, x).pow(3).sum(1)


class Shared(nn.Module):
    """Tied weights, in a region and outside of it, masked and normalised inside."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, I)
        self.mask = torch.tril(torch.ones(I, I)).double()
        self.weight, self.scale = nn.Parameter(torch.randn(I, I)), nn.Parameter(torch.zeros(I))

    def forward(self, x, region):
        tokens = (3 * x).abs().long() % 7

        def inner(tokens):
            h = self.table(tokens) @ (self.mask * self.weight.sigmoid())
            return (h * self.scale.exp()) @ F.normalize(self.weight) @ self.weight.tanh()

        h = region(inner, tokens)
        return (h @ self.table.weight.T).logsumexp(2).sum(1) + self.scale.sum()


class Called(nn.Module):
    """Operations without a rule, built in and written in Python."""

    def __init__(self):
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.rand(I) + 0.5), nn.Linear(I, I)

    def forward(self, x, region):
        def inner(h):
            return Scale.apply(torch.hypot(h, self.scale), self.scale) + torch.hypot(h, self.scale)

        return region(inner, self.layer(x)).pow(2).sum(1)


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[m for _ in range(3) for m in (nn.Linear(I, I), nn.Tanh())])

    def forward(self, x, region):
        if region is plainly:
            return self.layers(x).square().sum(1)
        return checkpoint_sequential(self.layers, 2, x, use_reentrant=False).square().sum(1)


class Routed(nn.Module):
    """Rows that the data send elsewhere, inside a region."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(I, I), nn.Linear(I, I)])

    def forward(self, x, region):
        def inner(h):
            order = h.detach()[:, 0].argsort()
            return torch.zeros_like(h).index_copy(0, order, self.layers[1](h[order]).tanh())

        return region(inner, self.layers[0](x)).square().sum(1)


class Angles(nn.Module):
    """An operation without a rule that keeps its samples apart, so that its plan is kept."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(I) + 0.5)

    def forward(self, x, region):
        return region(lambda x: torch.atan2(x, self.scale), x).pow(3).sum(1)


MODELS = [Blocks, Nested, Lowest, Shared, Called, Sequence, Routed, Angles]


@pytest.mark.parametrize("region", [saving, saving_all])
@pytest.mark.parametrize("model", MODELS)
def test_equals_the_loop_without_checkpoints(model, region, caplog):
    """Alternating with the same graph without checkpoints, which has the same plan."""
    torch.manual_seed(0)
    module = model().double()
    norms = GradientNorms(module)
    with caplog.at_level(logging.WARNING, "fimetric"):
        for way in (region, region, plainly, region, region):
            x = torch.randn(N, I, dtype=torch.float64)
            expected = table_by_loop(module(x, plainly), list(module.parameters()))
            torch.testing.assert_close(norms(module(x, way)), expected, rtol=1e-10, atol=0)
    assert not caplog.text


@pytest.mark.parametrize("samples", [1, 2])
def test_few_samples(samples):
    module = Blocks().double()
    for _ in range(2):
        x = torch.randn(samples, I, dtype=torch.float64)
        expected = table_by_loop(module(x, plainly), list(module.parameters()))
        table = GradientNorms(module)(module(x, saving))
        torch.testing.assert_close(table, expected, rtol=1e-10, atol=0)


def test_noise_is_drawn_again_as_it_was(monkeypatch):
    no_calls(monkeypatch)
    module = nn.Sequential(nn.Linear(I, 64), nn.Dropout(), nn.Linear(64, I)).double()
    norms = GradientNorms(module)
    for seed in range(3):
        x = torch.randn(N, I, dtype=torch.float64)
        tables = []
        for region in (plainly, saving):
            torch.manual_seed(seed)
            tables.append(norms(region(module, x).square().sum(1)))
        torch.testing.assert_close(*tables, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("model", "most"), [(Blocks, 6), (Lowest, 3), (Shared, 4), (Angles, 2)])
def test_how_often_regions_run(model, most):
    """Once forward and once for backpropagation, and once more for what is read outside of it."""
    module, runs = model().double(), []
    norms = GradientNorms(module)
    for _ in range(3):
        runs.clear()
        x = torch.randn(N, I, dtype=torch.float64)
        losses = module(x, lambda f, *h: saving(lambda *h: runs.append(1) or f(*h), *h))
        norms(losses)
    assert len(runs) == most


def test_where_pytorch_keeps_its_tensors_otherwise_the_loop_is_taken(monkeypatch, caplog):
    monkeypatch.setattr(checkpoints, "_HOLDER", ())
    module = Blocks().double()
    norms = GradientNorms(module)
    for _ in range(3):
        x = torch.randn(N, I, dtype=torch.float64)
        expected = table_by_loop(module(x, plainly), list(module.parameters()))
        torch.testing.assert_close(norms(module(x, saving)), expected, rtol=1e-10, atol=0)
    assert caplog.text.count("checkpointing: exact, but by one backward pass per sample") == 1


def holders(losses, module):
    """What stands for each tensor that the regions save."""
    graph = read_graph(losses, list(module.parameters()))
    return [holder for node in graph.nodes for holder in checkpoints._holders(node)]


def test_one_region_at_a_time_is_in_memory():
    module, held = Blocks().double(), []
    norms = GradientNorms(module)
    for _ in range(3):
        saved = []

        def counting(f, h, saved=saved):
            held.append(sum(len(s().handles) for s in saved if s() is not None))
            return f(h)

        x = torch.randn(N, I, dtype=torch.float64)
        losses = module(x, lambda f, h, run=counting: saving(lambda h: run(f, h), h))
        saved += [weakref.ref(h) for h in holders(losses, module)]
        held.clear()
        norms(losses)
    assert len(held) == 3
    assert saved and max(held) <= len(saved) / 3


def test_nothing_computed_anew_outlives_a_pass_over_a_graph_that_is_kept(monkeypatch):
    """Neither while colours are read, where one pass follows another, nor at the end."""
    module, left, one_pass = Blocks(), [], colouring.weighted_gradients
    losses = module(torch.randn(N, I), saving)

    def counted(*given):
        found = one_pass(*given)
        left.append(sum(len(h.handles) for h in holders(losses, module)))
        return found

    monkeypatch.setattr(colouring, "weighted_gradients", counted)
    by_probes = partial(engine.make_plan, by_rules=False)
    monkeypatch.setattr(engine, "make_plan", lambda *given, **_: by_probes(*given))
    norms = GradientNorms(module)
    norms(losses, retain_graph=True)
    left.append(sum(len(h.handles) for h in holders(losses, module)))
    assert len(left) > 3 and not any(left)
    assert all(type(h.handles) is dict for h in holders(losses, module))
    expected = table_by_loop(losses, list(module.parameters()))
    torch.testing.assert_close(norms(losses), expected)


def test_a_single_sample_whose_parameters_a_reentrant_checkpoint_hides(caplog):
    def hiding(function, *inputs):
        return checkpoint(function, *inputs, use_reentrant=True)

    model = Blocks().double()
    x = torch.randn(1, I, dtype=torch.float64)
    found = GradientNorms(model)(model(x, hiding))
    expected = table_by_loop(model(x, plainly), list(model.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    assert "parameters hidden in CheckpointFunctionBackward" in caplog.text
