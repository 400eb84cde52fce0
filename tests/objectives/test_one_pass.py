"""Parts made of the pass that the loss took are those of a pass of their own, and take none."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from tests.objectives.test_parts import CASES
from torch import nn

from fimetric.data import Batch
from fimetric.extraction.extractor import Extractor
from fimetric.fingerprint.structure import outline, structure
from fimetric.objectives.one_pass import OnePass

ONE_PASS = ("vae", "vae with draws", "glow", "nsf", "pixelcnn", "wavenet", "causal", "seq2seq")


class Counting(nn.Module):
    """Counts how often a method is run, and with a graph or without."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))
        self.runs = []

    def twice(self, x, times=2, *, plus=0.0):
        self.runs.append(torch.is_grad_enabled())
        return {"y": self.w * times * x + plus}, "told"


X = torch.arange(4.0)


@pytest.fixture
def heard():
    model = Counting()
    once = OnePass([(model, "twice")])
    with once.listening():
        found, _ = model.twice(X, plus=1.0)
    assert found["y"].requires_grad
    return model, once


def test_equal_arguments_are_answered_without_a_graph(heard):
    model, once = heard
    with once.answering():
        found, told = model.twice(X.clone(), times=2, plus=1.0)
    assert (found["y"] == 2 * X + 1).all() and not found["y"].requires_grad
    assert told == "told" and model.runs == [True]


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.twice(X + 1, plus=1.0),
        lambda m: m.twice(X, 3, plus=1.0),
        lambda m: m.twice(X, plus=2.0),
        lambda m: m.twice(X.double(), plus=1.0),
        lambda m: m.twice(X[:2], plus=1.0),
        lambda m: m.twice(X, True + 1.0, plus=1.0),  # another type
        lambda m: m.twice(X * float("nan"), plus=1.0),
    ],
)
def test_other_arguments_run_as_ever(heard, call):
    model, once = heard
    with once.answering():
        call(model)
    assert len(model.runs) == 2


def test_nothing_is_left_behind(heard):
    model, once = heard
    before = set(vars(model))
    with pytest.raises(RuntimeError), once.listening():
        raise RuntimeError
    with once.answering():
        assert "twice" in vars(model)
    assert set(vars(model)) == before
    model.twice(X, plus=1.0)
    assert len(model.runs) == 2


def test_a_method_that_a_model_itself_replaced_is_put_back(heard):
    model, once = heard
    model.twice = mine = lambda x: x
    with once.answering():
        model.twice(X)
    assert model.twice is mine


def test_what_was_changed_in_place_is_computed_again(heard):
    model, once = heard
    with once.listening():
        found, _ = model.twice(X, 5)
        with torch.no_grad():
            found["y"].add_(1)
    with once.answering():
        again, _ = model.twice(X, 5)
    assert (again["y"] == 5 * X).all() and len(model.runs) == 3


def test_other_threads_see_nothing_and_nothing_is_left_by_two(heard):
    model, once = heard
    with once.answering(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(model.twice, X, plus=1.0).result()[0]["y"].requires_grad
    first, second = OnePass([(model, "twice")]), OnePass([(model, "twice")])
    entered, left = Event(), Event()

    def other():
        with second.listening():
            entered.set()
            left.wait()

    with ThreadPoolExecutor(1) as pool:
        with first.listening():
            done = pool.submit(other)
            entered.wait()
        assert "twice" in vars(model)
        left.set()
        done.result()
    assert "twice" not in vars(model)


def test_what_stands_in_is_no_part_of_the_model(heard):
    model, once = heard
    before = structure(model), outline(model)
    with once.answering():
        assert (structure(model), outline(model)) == before


def as_batch(x):
    samples = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return Batch(x, [str(i) for i in range(samples)])


@pytest.mark.parametrize("name", CASES)
def test_parts_beside_norms_are_those_of_their_own_pass(name):
    objective, x = CASES[name][0]()
    found = Extractor(objective, parts="costly")(as_batch(x))
    expected = objective.parts(x, costly=True)
    assert found.part_names == tuple(expected)
    for column, numbers in zip(found.parts.T, expected.values(), strict=True):
        np.testing.assert_allclose(column, numbers.double(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ONE_PASS)
def test_parts_take_no_pass_of_their_own(name):
    objective, x = CASES[name][0]()
    assert layers_run(objective, x, "free") == layers_run(objective, x, None) > 0


def layers_run(objective, x, parts):
    """Return how many layers with parameters are run for a batch that is not the first."""
    extractor, runs = Extractor(objective, parts=parts), []
    extractor(as_batch(x))
    hooks = [
        layer.register_forward_hook(lambda *_: runs.append(1))
        for layer in objective.module.modules()
        if list(layer.parameters(recurse=False))
    ]
    extractor(as_batch(x))
    for hook in hooks:
        hook.remove()
    return len(runs)
