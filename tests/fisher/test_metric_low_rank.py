"""Principal directions over all parameters, against dense matrices in float64."""

import math

import numpy as np
import pytest
import torch
from metric_cases import CASES, build, draws, gradients, halves, measured, real, squares
from torch import nn

from fimetric.features.screening import informative
from fimetric.fisher.metrics import LowRank, ScaledIdentity
from fimetric.fisher.metrics.low_rank import LEAST, choose_rank, principal
from fimetric.objectives import Objective

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def vectors(objective, x, metric):
    """z (N, P) of all live tensors, side by side, and the sizes of these."""
    layers = metric.of().layers
    parts = [
        real(g) * layers[name].scale ** -0.5
        for name, g in gradients(objective, x).items()
        if layers[name].live
    ]
    return torch.cat(parts, 1)


def dense(z, rank, damping):
    """U (D + lambda) U^T + lambda (1 - U U^T) of the r principal directions of z (n, P)."""
    values, basis = torch.linalg.eigh(z.T @ z / len(z))
    values, basis = values.flip(0)[:rank], basis.flip(1)[:, :rank]
    D = (values - damping).clamp_min(0)
    return basis * D @ basis.T + damping * torch.eye(z.shape[1]).to(z)


@pytest.mark.parametrize("rank", [0, 1, 4])
@pytest.mark.parametrize("name", CASES)
def test_the_metric_is_that_of_a_dense_solve(name, rank):
    objective, x = build(name)
    metric = LowRank(rank, damping=0.05).fit(objective, x[:13], batch_size=5, progress=False)
    z = vectors(objective, x, metric)
    F = dense(z[:13], rank, 0.05)
    expected = (z * torch.linalg.solve(F, z.T).T).sum(1)
    table = measured(metric, objective, x)
    torch.testing.assert_close(table.sum(1), expected, **EXACT)
    assert metric.names == [*(f"direction={i}" for i in range(rank)), "rest"]
    assert (table[:13, :rank].mean(0) - 1).abs().max() < 1e-9 if rank else True


def linear(P):
    model = nn.Linear(P, 1, bias=False).double()
    return Objective(lambda x: model(x)[:, 0], model)


AWKWARD = {
    "fewer references than directions": (draws(4, 20), 4),
    "linearly dependent": (torch.cat([draws(5, 20)] * 3), 5),
    "fewer parameters than references": (draws(40, 6), 6),
    "fewer parameters than directions": (draws(9, 3), 3),
    "one reference": (draws(1, 20), 1),
    "one parameter": (draws(7, 1), 1),
    "very different directions": (draws(50, 20) * torch.logspace(0, -5, 20).double(), 8),
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_awkward_references(kind):
    x, rank = AWKWARD[kind]
    P = x.shape[1]
    objective = linear(P)
    metric = LowRank(8, damping=0.3).fit(objective, x, batch_size=3, progress=False)
    fresh = draws(6, P, seed=9)
    z = vectors(objective, fresh, metric)
    F = dense(vectors(objective, x, metric), rank, 0.3)
    table = measured(metric, objective, fresh)
    expected = (z * torch.linalg.solve(F, z.T).T).sum(1)
    torch.testing.assert_close(table.sum(1), expected, **EXACT)
    assert metric.of().rank == rank and table.shape == (6, rank + 1)
    assert (table[:, -1] == 0).all() == (rank == P)
    assert metric.of().numels == [1] * rank + [P - rank]
    chosen = LowRank(8).fit(objective, x, progress=False) if len(x) > 1 else metric
    assert measured(chosen, objective, fresh).isfinite().all()
    assert chosen.features(fresh, progress=False).values.shape[0] == 6


def test_a_smaller_budget_changes_nothing_but_the_time():
    objective, x = build("perceptron")
    x = x[:9]
    numel = sum(p.numel() for p in objective.module.parameters())
    tables = []
    for budget in (1 << 30, 8 * numel * 7, 8 * numel * 4, 1):
        metric = LowRank(4, budget=budget).fit(objective, x, batch_size=4, progress=False)
        tables.append(measured(metric, objective, x))
    for table in tables[1:]:
        torch.testing.assert_close(table, tables[0], **EXACT)


def test_only_so_many_references_take_part():
    objective, x = build("perceptron")
    some = LowRank(3, references=10).fit(objective, x, batch_size=4, progress=False)
    same = LowRank(3).fit(objective, x[:10], progress=False)
    torch.testing.assert_close(measured(some, objective, x), measured(same, objective, x), **EXACT)


def held_out_loss(values, along, rest, P, r, damping):
    """Minus twice the log likelihood, by its formula."""
    variance = values[:r].clamp_min(damping)
    loss = (along[:r] / variance + variance.log()).sum().item()
    return loss + (rest[r] / damping).item() + (P - r) * math.log(damping)


@pytest.mark.parametrize("name", ["perceptron", "convolutions", "tokens"])
def test_rank_and_damping_are_the_most_likely_of_all(name):
    objective, x = build(name)
    metric = LowRank(6, seed=1).fit(objective, x, progress=False)
    z, first = vectors(objective, x, metric), halves(len(x), seed=1)
    values, basis = torch.linalg.eigh(z[first].T @ z[first] / int(first.sum()))
    values, basis = values.flip(0)[:6], basis.flip(1)[:, :6]
    along = (z[~first] @ basis).square().mean(0)
    whole = z[~first].square().sum(1).mean()
    rest = torch.cat([whole[None], whole - along.cumsum(0)])
    P, found = z.shape[1], metric.of()
    assert found.rank > 0
    best = held_out_loss(values, along, rest, P, found.rank, found.damping)
    for r in range(7):
        for damping in np.logspace(-3, 1, 81) * found.damping:
            assert best <= held_out_loss(values, along, rest, P, r, damping) + 1e-6 * abs(best)


def test_directions_of_noise_are_not_taken_and_those_of_signal_are():
    objective = linear(200)
    noise = LowRank(10).fit(objective, draws(60, 200), progress=False)
    assert noise.of().rank == 0
    signal = draws(60, 200) + 30 * draws(60, 2, seed=1) @ draws(2, 200, seed=2)
    assert LowRank(10).fit(objective, signal, progress=False).of().rank == 2


def test_without_directions_it_is_the_scaled_identity():
    objective, x = build("convolutions")
    metric = LowRank(0, damping=1.0).fit(objective, x, progress=False)
    same = ScaledIdentity().fit(objective, x, progress=False)
    expected = measured(same, objective, x).sum(1, keepdim=True)
    torch.testing.assert_close(measured(metric, objective, x), expected, **EXACT)


def test_damping_never_falls_to_zero():
    x = draws(30, 2, seed=1) @ draws(2, 40, seed=2)  # the directions leave nothing
    metric = LowRank(5).fit(linear(40), x, progress=False)
    assert metric.of().rank == 2 and metric.of().damping == LEAST
    features = metric.features(x, progress=False)
    assert informative(features).tolist() == [True, True, False]  # what is left is noise


def test_float32_directions_of_very_different_size_are_orthonormal():
    objective = linear(30)
    objective.module.float()
    x = draws(60, 30).float() * torch.logspace(0, -1.9, 30)
    metric = LowRank(32, damping=1e-6).fit(objective, x, progress=False)
    assert metric.of().variances[0] > 5e3 * metric.of().variances[-1]
    products = sum(v.double() @ v.T.double() for v in metric.of().directions.values())
    torch.testing.assert_close(products, torch.eye(len(products)).double(), rtol=0, atol=2e-6)
    # the references have a mean of one along each
    along = measured(metric, objective, x)[:, :-1].mean(0)
    torch.testing.assert_close(along, torch.ones_like(along), rtol=0, atol=5e-4)


def test_layers_of_very_different_scale_count_alike():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    plain = squares(model)
    x = draws(20, 4)

    class Rescaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(model[0].weight.detach() * 1e-4)
            self.rest = model[1:]

        def forward(self, x):
            return self.rest(x @ (self.first * 1e4).T + model[0].bias.detach())

    other = squares(Rescaled())
    kept = [p for name, p in model.named_parameters() if name != "0.bias"]
    model[0].bias.requires_grad_(False)
    assert len(kept) == 3
    tables = [measured(LowRank(4).fit(o, x, progress=False), o, x) for o in (plain, other)]
    torch.testing.assert_close(*tables, **EXACT)


@pytest.mark.parametrize("settings", [{"rank": -1}, {"references": 0}, {"damping": 0.0}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is|references"):
        LowRank(**settings).fit(*build("perceptron"), progress=False)


def test_principal_directions_of_nothing():
    values, weights = principal(torch.zeros(3, 3).double(), 2, 1e-16)
    assert values.shape == (0,) and weights.shape == (0, 3)
    assert choose_rank(torch.eye(4).double(), torch.arange(4) < 2, 100, 3, 1e-16)[0] == 0
