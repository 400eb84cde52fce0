"""Elementwise whitening and the choice of its damping, against plain loops."""

import numpy as np
import pytest
import torch
from metric_cases import CASES, build, draws, gradients, halves, measured, real
from torch import nn

from fimetric.fisher.metrics import Diagonal
from fimetric.fisher.metrics.damping import SHARES, check_regular, choose, loss_of
from fimetric.objectives import Objective

EXACT = {"rtol": 1e-9, "atol": 1e-11}  # float64 sums in another order


def drawn(second, share):
    """Mix second moments (K,) with the mean of those that are not zero."""
    return (1 - share) * second + share * second[second > 1e-25].mean()


@pytest.mark.parametrize("damping", [0.03, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_the_metric_is_that_of_a_loop(name, damping):
    objective, x = build(name)
    metric = Diagonal(damping).fit(objective, x[:12], batch_size=5, progress=False)
    table = measured(metric, objective, x)
    for column, g in zip(table.T, gradients(objective, x).values(), strict=True):
        squares = g.abs().square().flatten(1)
        if column.any():  # else a layer without gradient, for which there is a law
            F = drawn(squares[:12].mean(0), damping)
            torch.testing.assert_close(column, (squares / F).sum(1), **EXACT)


def brute_force(one, other):
    """Return the share that makes ``other`` (K,) most likely, by a loop."""
    kept = (one + other) > 1e-25
    losses = []
    for share in SHARES:
        F = (1 - share) * one + share * one[kept].mean()
        losses.append((other / F + F.log())[kept].sum().item())
    return SHARES[int(np.argmin(losses))]


@pytest.mark.parametrize("name", CASES)
def test_the_chosen_damping_is_that_of_a_loop(name):
    objective, x = build(name)
    metric = Diagonal(seed=3).fit(objective, x, batch_size=6, progress=False)
    first, chosen = halves(len(x), seed=3), []
    for name_, g in gradients(objective, x).items():
        block = metric.of().blocks[name_]
        if block.noise:
            squares = g.abs().square().flatten(1)
            share = brute_force(squares[first].mean(0), squares[~first].mean(0))
            assert block.damping == share
            F = drawn(squares.mean(0), share)
            assert block.noise == pytest.approx((1 / F).mean().item(), rel=1e-9)
            torch.testing.assert_close(block.F.flatten(), F, **EXACT)
            chosen.append(share)
    assert chosen


def linear(scales):
    """A model whose gradient is its input."""
    model = nn.Linear(len(scales), 1, bias=False).double()
    return Objective(lambda x: model(x * scales)[:, 0], model)


def damping_of(scales, n):
    metric = Diagonal().fit(linear(scales), draws(n, len(scales)), progress=False)
    return metric.of().blocks["weight"].damping


def test_weights_of_equal_size_are_damped_fully_and_clear_differences_hardly():
    assert damping_of(torch.ones(50).double(), n=12) > 0.3
    assert damping_of(torch.logspace(-1, 1, 50).double(), n=400) < 0.01


def test_masked_weights_have_no_say_in_the_damping():
    scales = torch.ones(60).double()
    masked = scales.clone()
    masked[20:] = 0
    x, wide, narrow = draws(12, 60), linear(masked), linear(scales[:20])
    metric = Diagonal().fit(wide, x, progress=False)
    same = Diagonal().fit(narrow, x[:, :20], progress=False)
    assert metric.of().blocks["weight"].damping == same.of().blocks["weight"].damping > 0.1
    torch.testing.assert_close(
        measured(metric, wide, x), measured(same, narrow, x[:, :20]), **EXACT
    )


def test_without_damping_a_zero_in_f_is_refused():
    objective = linear(torch.tensor([1.0, 0.0, 2.0]).double())
    with pytest.raises(ValueError, match="'weight' is singular without damping: 1 of its 3"):
        Diagonal(damping=0.0).fit(objective, draws(9, 3), progress=False)
    objective = linear(torch.tensor([1.0, 0.5, 2.0]).double())
    x = draws(9, 3)
    metric = Diagonal(damping=0.0).fit(objective, x, progress=False)
    g = real(gradients(objective, x)["weight"])
    expected = (g.square() / g.square().mean(0)).sum(1, keepdim=True)
    torch.testing.assert_close(measured(metric, objective, x), expected, **EXACT)
    check_regular(torch.ones(2), "a")


def test_a_first_half_without_gradients_leaves_the_simplest_f():
    x = draws(8, 3) * ~halves(8)[:, None]
    block = Diagonal().fit(linear(torch.ones(3)), x, progress=False).of().blocks["weight"]
    assert block.damping == 1.0
    torch.testing.assert_close(block.F, x.square().mean().expand(1, 3), **EXACT)


def test_the_factor_of_f_is_the_best_one():
    S, F = draws(40).square(), draws(40, seed=1).square() + 0.1
    live = torch.ones(40, dtype=torch.bool)
    found = choose(lambda share: F + share, S, live, scaled=True)
    best = float(loss_of(S, found.factor * (F + found.share)))
    for share in SHARES:
        for factor in np.logspace(-2, 2, 41) * found.factor:
            assert best <= float(loss_of(S, factor * (F + share))) + 1e-9
    plain = choose(lambda share: F + share, S, live)
    assert plain.factor == 1
    assert float(loss_of(S, F + plain.share)) == min(float(loss_of(S, F + s)) for s in SHARES)
