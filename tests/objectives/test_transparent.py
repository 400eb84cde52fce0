"""Compiled models and reentrant checkpoints, as objectives run them."""

import logging
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import fimetric as fm
from fimetric.gradients.graph import read_graph

BACKENDS = ("eager", "aot_eager", "inductor")  # the last needs a compiler, but nothing is compiled


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).tanh()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = Layer(), Layer()

    def forward(self, x):
        return self.last(self.first(x))


def losses_of(model):
    return lambda x: (model(x) - x).square().sum(1)


def whole(model, backend):
    compiled = torch.compile(model, backend=backend)
    return losses_of(compiled), compiled


def in_place(model, backend):
    model.compile(backend=backend)
    return losses_of(model), model


def a_layer(model, backend):
    model.first = torch.compile(model.first, backend=backend)
    return losses_of(model), model


def a_layer_in_place(model, backend):
    model.first.compile(backend=backend)
    return losses_of(model), model


def a_function(model, backend):
    return torch.compile(losses_of(model), backend=backend), model


WAYS = [whole, in_place, a_layer, a_layer_in_place, a_function]


@pytest.fixture
def model():
    torch.manual_seed(0)
    yield Model()
    torch._dynamo.reset()


def operations(losses, model):
    graph = read_graph(losses, list(model.parameters()))
    return {graph.name(node) for node in range(len(graph.nodes))}


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of PyTorch's own
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", WAYS)
def test_features_are_those_of_the_original(way, backend, model):
    data = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    expected = fm.extract(fm.objectives.Objective(losses_of(model), model), data)
    function, made = way(model, backend)
    found = fm.extract(fm.objectives.Objective(function, made), data)
    assert np.array_equal(found.values, expected.values)
    assert np.array_equal(found.losses, expected.losses)


@pytest.mark.parametrize("way", WAYS)
def test_compiling_goes_on_outside(way, model):
    """Where it matters: these graphs hide the parameters, before and after."""
    function, made = way(model, "aot_eager")
    x, objective = torch.randn(5, 4), fm.objectives.Objective(function, made)
    for _ in range(2):
        assert "CompiledFunctionBackward" in operations(function(x), model)
        assert "CompiledFunctionBackward" not in operations(objective.losses("", x), model)


@pytest.mark.parametrize("way", WAYS[:-1])
def test_it_is_said_once(way, model, caplog):
    function, made = way(model, "eager")
    objective = fm.objectives.Objective(function, made)
    with caplog.at_level(logging.INFO, "fimetric"):
        for _ in range(2):
            objective.losses("", torch.randn(5, 4))
    assert caplog.text.count("Model is compiled: its gradients are read through the original") == 1


def test_nothing_is_said_of_others(model, caplog):
    torch.compile(model, backend="eager")
    with caplog.at_level(logging.INFO, "fimetric"):
        fm.objectives.Objective(losses_of(model), model).losses("", torch.randn(5, 4))
    assert not caplog.text


def reentrant(model, x):
    """A region within a region, and a sequence of regions."""
    run = lambda part, x: checkpoint(part, x, use_reentrant=True)  # noqa: E731
    return run(lambda h: run(model.first, h.sin()), run(model.last, x))


def plain(model, x):
    return model.first(model.last(x).sin())


def test_features_of_reentrant_checkpoints(model, caplog):
    data = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)

    def objective(way):
        return fm.objectives.Objective(
            lambda x: way(model, x.clone().requires_grad_()).square().sum(1), model
        )

    found, expected = (fm.extract(objective(way), data) for way in (reentrant, plain))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    assert "one backward pass per sample" not in caplog.text


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # of the inner region
def test_checkpoints_are_reentrant_outside(model):
    """Also after losses that fail."""
    x = torch.randn(5, 4, requires_grad=True)
    for number, function in enumerate([lambda x: reentrant(model, x).sum(1), lambda x: 1 / 0]):
        objective = fm.objectives.Objective(function, model)
        with nullcontext() if number == 0 else pytest.raises(ZeroDivisionError):
            losses = objective.losses("", x)
        assert "CheckpointFunctionBackward" not in operations(losses, model)
        assert "CheckpointFunctionBackward" in operations(reentrant(model, x).sum(1), model)


def test_noise_in_a_reentrant_region_is_drawn_again_as_it_was(model):
    dropout = nn.Dropout(0.5)
    x = torch.randn(5, 4, requires_grad=True)

    def losses(x):
        noisy = lambda h: dropout(model.first(h)).square()  # noqa: E731
        return checkpoint(noisy, x, use_reentrant=True).sum(1)

    torch.manual_seed(1)
    losses(x).sum().backward()
    torch.manual_seed(1)
    found = fm.objectives.Objective(losses, model).losses("", x).sum()
    weight = model.first.linear.weight
    assert torch.equal(torch.autograd.grad(found, weight)[0], weight.grad)


def test_compiling_is_set_aside_where_a_loss_fails(model):
    def fails(x):
        raise ValueError("of the loss")

    compiled = torch.compile(model, backend="aot_eager")
    with pytest.raises(ValueError, match="of the loss"):
        fm.objectives.Objective(fails, compiled).losses("", torch.randn(5, 4))
    assert "CompiledFunctionBackward" in operations(compiled(torch.randn(5, 4)).sum(1), model)
