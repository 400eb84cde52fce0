"""Distances to shared rows, against the loop."""

import logging

import pytest
import torch
from against_loop import assert_equals_the_loop, no_calls
from torch import nn

from fimetric.gradients import GradientNorms

N, M, R, D = 4, 4, 3, 2  # as many samples as shared rows
MODES = ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


class Codebook(nn.Module):
    """Distances of what a layer makes of the rows to shared ones, on either side."""

    def __init__(self, p=2.0, mode=MODES[0], first=False, shape=(M, D)):
        super().__init__()
        self.entries, self.layer = nn.Parameter(torch.randn(shape)), nn.Linear(D, D)
        self.p, self.mode, self.first = p, mode, first
        self.double()

    def forward(self, x):
        sides = self.layer(x), self.entries
        sides = sides[::-1] if self.first else sides
        return torch.cdist(*sides, p=self.p, compute_mode=self.mode)


def batches(*shape):
    return [torch.randn(*shape, D, dtype=torch.float64) for _ in range(2)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, float("inf")])
def test_every_norm_on_both_sides(p, mode, first, monkeypatch):
    """Several rows to a sample, one row each, and samples along the second axis."""
    no_calls(monkeypatch)
    module = Codebook(p, mode, first)
    assert_equals_the_loop(module, lambda x: module(x).pow(3).sum((1, 2)), batches(N, R))
    assert_equals_the_loop(module, lambda x: module(x).pow(3).sum(0 if first else 1), batches(N))
    others = (0, 1) if first else (0, 2)
    assert_equals_the_loop(module, lambda x: module(x).pow(3).sum(others), batches(R, N))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1, M, D), (2, M, D), (1, 1, 2, M, D)])
def test_rows_in_several_axes(shape, samples, first, monkeypatch):
    no_calls(monkeypatch)
    module = Codebook(1.0, first=first, shape=shape)
    losses = lambda x: module(x).pow(3).transpose(0, -4).flatten(1).sum(1)  # noqa: E731
    inputs = batches(samples, 2, R) if len(shape) < 5 else batches(1, samples, 2, R)
    assert_equals_the_loop(module, lambda x: losses(x).view(samples), inputs)


def test_samples_along_the_second_axis_and_rows_for_each_place_on_the_first(monkeypatch):
    no_calls(monkeypatch)
    module = Codebook(1.0, shape=(3, 1, M, D))
    losses = lambda x: module(x).pow(3).sum((0, 2, 3))  # noqa: E731
    assert_equals_the_loop(module, losses, batches(3, N, R))


def test_powers_that_are_no_norms_are_called(caplog):
    module = Codebook(0.5)
    with caplog.at_level(logging.INFO, "fimetric"):
        assert_equals_the_loop(module, lambda x: module(x).pow(3).sum((1, 2)), batches(N, R))
    assert "no fast rule for CdistBackward0" in caplog.text


@pytest.mark.parametrize("mode", MODES)
def test_rows_at_no_distance(mode, monkeypatch):
    no_calls(monkeypatch)
    entries = nn.Parameter(torch.eye(M, dtype=torch.float64))
    x = entries.detach().roll(1, 0)

    def losses(x):
        return torch.cdist(x, entries, compute_mode=mode).pow(3).sum(1)

    assert_equals_the_loop(nn.ParameterDict({"entries": entries}), losses, [x, 2 * x])


def test_distances_that_cancel():
    """What is left of opposite weights is small beside the terms, and above the noise."""
    module = Codebook().float()
    x = torch.randn(N, 1, D).expand(N, 2, D) + 1e-2 * torch.randn(N, 2, D)
    weight = torch.tensor([[1.0], [-1.0]])
    norms = GradientNorms([("entries", module.entries)])
    measured = norms.measure((module(x) * weight).sum((1, 2)))
    wide = GradientNorms([("entries", module.double().entries)])
    expected = wide((module(x.double()) * weight).sum((1, 2)))
    assert (measured.table > 1e3 * measured.bound).all()
    torch.testing.assert_close(measured.table.double(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_rows_of_each_samples_own(mode):
    module = Codebook(mode=mode, shape=(N, M, D))
    assert_equals_the_loop(module, lambda x: module(x).pow(3).sum((1, 2)), batches(N, R))


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_what_cancels_to_nothing_stays_below_its_bound(p):
    module = Codebook(p).float()
    x = torch.randn(N, 1, D) * torch.tensor([[1.0], [1.0 + 2e-7]])
    weight = torch.tensor([[1.0], [-1.0]])
    norms = GradientNorms([("entries", module.entries)])
    measured = norms.measure((torch.cdist(x, module.entries, p) * weight).sum((1, 2)))
    assert (measured.table <= measured.bound).all()
    assert (p == 1.0) or measured.table.any()  # noise, and no exact zero


@pytest.mark.parametrize("mode", MODES)
def test_the_plan_of_distances_is_kept(mode, monkeypatch):
    """No data moves rows in them, so the colours hold for the next batch."""
    module = Codebook(mode=mode)
    norms, (x, other) = GradientNorms(module), batches(N, R)
    norms(module(x).sum((1, 2)))
    monkeypatch.setattr("fimetric.gradients.engine.make_plan", None)
    norms(module(other).sum((1, 2)))
