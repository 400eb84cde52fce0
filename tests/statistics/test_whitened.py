"""Score statistic and discrepancy against plain loops over samples and tensors."""

import numpy as np
import pytest
import torch
from torch import nn

from fimetric.detectors import CombinedTests
from fimetric.models import build
from fimetric.objectives import Objective, standard_objective
from fimetric.statistics.whitened import WhitenedGradient

EXACT = {"rtol": 1e-9, "atol": 1e-9}  # float64 sums in another order


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 5), nn.Tanh()
        ).double()
    model.unused = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    return model


class Draws(Objective):
    """One timestep in two draws, and another in one."""

    def views(self):
        return {
            "t=0/draw=0": self.function,
            "t=0/draw=1": lambda x: self.function(x + 0.3),
            "t=5/draw=0": lambda x: self.function(2 * x),
        }


def objective(kind=Objective):
    model = network()
    return kind(lambda x: (model(x) + 0.2).square().sum(1) + model(x).exp().sum(1), model)


def gradients(losses, module):
    """Return one row per sample: the gradients of all tensors, by one backward pass each."""
    rows = []
    for loss in losses:
        found = torch.autograd.grad(
            loss, list(module.parameters()), retain_graph=True, materialize_grads=True
        )
        rows.append([g.flatten() for g in found])
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def expected(references, rows, damping):
    """Return log |phi|^2 and log |phi - mean|^2 of gradients, given per tensor."""
    score = torch.zeros(len(rows[0]), dtype=torch.float64)
    mmd = score.clone()
    for reference, g in zip(references, rows, strict=True):
        squares = reference.square().mean(0)
        if squares.any():
            F = (1 - damping) * squares + damping * squares[squares > 0].mean()
            score += (g.square() / F).sum(1)
            mmd += ((g - reference.mean(0)).square() / F).sum(1)
    return torch.stack([score, mmd], 1).log()


@pytest.mark.parametrize("N", [1, 6])
def test_statistics_are_those_of_a_loop(N):
    model, reference, x = objective(), draws(23, 1, 4, 4), draws(N, 1, 4, 4, seed=1)
    statistic = WhitenedGradient(model, reference, damping=0.1, batch_size=7, progress=False)
    assert statistic.names == ["score", "mmd"]
    fitted = gradients(model(reference), model.module)
    oracle = expected(fitted, gradients(model(x), model.module), 0.1)
    with torch.no_grad():
        torch.testing.assert_close(statistic.measure(x), oracle, **EXACT)


def test_views_have_columns_and_draws_share_f_and_are_averaged():
    model, reference, x = objective(Draws), draws(20, 1, 4, 4), draws(5, 1, 4, 4, seed=1)
    statistic = WhitenedGradient(model, reference, damping=0.2, progress=False)
    assert statistic.names == ["t=0/score", "t=0/mmd", "t=5/score", "t=5/mmd"]
    f = model.function
    pairs = [gradients(f(reference), model.module), gradients(f(reference + 0.3), model.module)]
    first = [torch.cat(pair) for pair in zip(*pairs, strict=True)]
    last = gradients(f(2 * reference), model.module)
    parts = [gradients(f(x), model.module), gradients(f(x + 0.3), model.module)]
    draws_ = torch.stack([expected(first, rows, 0.2) for rows in parts]).mean(0)
    other = expected(last, gradients(f(2 * x), model.module), 0.2)
    torch.testing.assert_close(statistic.measure(x), torch.cat([draws_, other], 1), **EXACT)


def test_features_hold_the_statistics_and_name_the_reference():
    model, reference, x = objective(), draws(20, 1, 4, 4), draws(6, 1, 4, 4, seed=1)
    statistic = WhitenedGradient(model, reference, progress=False)
    table = statistic.features(x, batch_size=4, progress=False)
    np.testing.assert_allclose(table.values, statistic.measure(x), **EXACT)
    np.testing.assert_allclose(table.losses[:, 0], model(x).detach(), rtol=1e-12)
    other = WhitenedGradient(model, draws(20, 1, 4, 4, seed=2), progress=False)
    assert other.describe() != statistic.describe() == table.objective
    assert model.module[0].weight.grad is None


def linear():
    """A model whose gradient is its input."""
    model = nn.Linear(3, 1, bias=False).double()
    return Objective(lambda x: model(x)[:, 0], model)


def test_the_discrepancy_does_not_cancel():
    small = torch.tensor([[1.0, 2, 3], [-1, 0, 1], [2, -2, 0], [-2, 0, -4]]).double()
    base = 1e8
    reference = base + small  # exact, as are its differences; |phi|^2 is 1e16 times the rest
    statistic = WhitenedGradient(linear(), reference, damping=1e-6, progress=False)
    F = statistic.metric.of().blocks["weight"].F[0]
    found = statistic.measure(reference)[:, 1]
    torch.testing.assert_close(found, (small.square() / F).sum(1).log(), rtol=1e-12, atol=0)


def test_a_sample_at_the_mean_is_an_exact_zero():
    x = torch.tensor([[1.0, 2.0, 3.0]]).double()
    statistic = WhitenedGradient(linear(), x.expand(4, 3), damping=0.5, progress=False)
    score, mmd = statistic.measure(x)[0]
    F = 0.5 * x.square() + 0.5 * x.square().mean()
    assert score.item() == pytest.approx((x.square() / F).sum().log().item(), rel=1e-12)
    assert mmd.item() == -torch.inf


def test_the_score_grows_where_the_model_knows_nothing():
    model, reference = objective(), draws(60, 1, 4, 4)
    statistic = WhitenedGradient(model, reference[:30], progress=False)
    table = statistic.features(reference[30:], progress=False)
    far = statistic.features(4 + draws(10, 1, 4, 4, seed=1), progress=False)
    for column in statistic.names:
        density = CombinedTests(columns=[column]).fit(table)
        assert np.median(density.score(far)) > np.median(density.score(table))


def test_a_convolutional_model_in_float32():
    vae = build("vae", "tiny", (1, 8, 8)).eval()
    model = standard_objective(vae)
    x = (255 * torch.rand(12, 1, 8, 8)).round() / 255
    statistic = WhitenedGradient(model, x[:8], damping=0.1, progress=False)
    found = statistic.measure(x[8:])
    vae.double()
    fitted = gradients(model(x[:8].double()), vae)
    oracle = expected(fitted, gradients(model(x[8:].double()), vae), 0.1)
    torch.testing.assert_close(found, oracle, rtol=1e-3, atol=1e-3)  # float32


def test_a_changed_model_and_bad_references_are_refused():
    model, reference = objective(), draws(20, 1, 4, 4)
    statistic = WhitenedGradient(model, reference, progress=False)
    with torch.no_grad():
        model.module[3].bias += 1
    with pytest.raises(ValueError, match="model has changed since its F was measured"):
        statistic.features(reference, progress=False)
    with pytest.raises(ValueError, match="NaN or infinite"):
        WhitenedGradient(model, reference * torch.inf, progress=False)
    with pytest.raises(ValueError, match="damping"):
        WhitenedGradient(model, reference, damping=2.0, progress=False)
