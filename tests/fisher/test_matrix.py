"""Estimates of the Fisher matrix against closed forms and autograd, and their sampling error."""

import numpy as np
import pytest
import torch
from known import linear_gaussian, softmax
from torch import nn

from fimetric.fisher.matrix import (
    Entries,
    choose_weights,
    gradient_entries,
    normalised,
    off_diagonal,
)
from fimetric.models import build
from fimetric.objectives import Objective, standard_objective


def all_weights(module):
    return {name: torch.arange(p.numel()) for name, p in module.named_parameters()}


def estimate(objective, data):
    weights = all_weights(objective.module)
    return gradient_entries(objective, data, weights, batch_size=4096, progress=False)


@pytest.mark.parametrize("family", [linear_gaussian, softmax])
def test_the_estimate_converges_to_the_known_matrix_at_rate_one_half(family):
    objective, draw, F = family()
    sizes, errors = np.array([32, 128, 512]), []
    for n in sizes:
        repeats = [
            estimate(objective, draw(int(n), seed)).second_moment() - F for seed in range(16)
        ]
        errors.append(np.sqrt(np.mean(np.square(repeats))))
    rate = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert -0.62 < rate < -0.38
    assert errors[-1] < 0.1 * np.abs(F).max()


def test_entries_are_those_of_autograd_for_convolutions_too():
    flow = build("glow", "tiny", (1, 8, 8)).double().eval()
    with torch.no_grad():  # couplings start at zero, where most gradients are zero too
        for p in flow.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double())
    objective = standard_objective(flow)
    x = torch.randint(256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    weights = choose_weights(flow, per_layer=4)
    found = gradient_entries(objective, x, weights, batch_size=2, progress=False)
    named = dict(flow.named_parameters())
    rows = []
    for n in range(5):
        grads = torch.autograd.grad(objective(x[n : n + 1])[0], [named[k] for k in weights])
        rows.append(
            torch.cat([g.flatten()[i] for g, i in zip(grads, weights.values(), strict=True)])
        )
    own = torch.stack(rows).numpy()
    alive = (own != 0).any(0)  # half of a triangular matrix is not used
    assert found.dead == (~alive).sum() > 0
    np.testing.assert_allclose(found.values, own[:, alive], rtol=1e-9, atol=1e-12)


def test_normalised_has_a_diagonal_of_one():
    F = np.array([[4.0, 1.0], [1.0, 9.0]])
    np.testing.assert_allclose(normalised(F), [[1, 1 / 6], [1 / 6, 1]])


def entries(values, layers=2):
    K = values.shape[1]
    return Entries(values, np.arange(K) * layers // K, tuple("abcdef"[:layers]))


def test_independent_gradients_show_their_sampling_error_and_no_more():
    g = np.random.default_rng(0).normal(size=(400, 60))
    found = off_diagonal(entries(g))
    for size in found.values():
        assert size.mean_absolute == pytest.approx(np.sqrt(2 / np.pi / 400), rel=0.1)
        assert size.mean_absolute == pytest.approx(size.noise, rel=0.1)
        assert size.root_mean_square < 0.015


def test_correlated_gradients_are_told_from_their_sampling_error():
    random = np.random.default_rng(0)
    g = random.normal(size=(400, 60))
    g[:, :30] = 0.8 * g[:, :1] + 0.6 * g[:, :30]  # correlation .64 within the first tensor
    found = off_diagonal(entries(g))
    assert found["across"].root_mean_square < 0.02
    half = np.sqrt(0.5 * 0.65**2)  # half of the pairs within tensors are such
    assert found["within"].root_mean_square == pytest.approx(half, rel=0.1)
    assert found["within"].mean_absolute > 3 * found["within"].noise


def test_a_common_mean_counts_in_the_second_moment_and_not_in_the_covariance():
    g = np.random.default_rng(0).normal(size=(400, 40)) + 2
    assert off_diagonal(entries(g))["across"].root_mean_square == pytest.approx(0.8, rel=0.05)
    assert off_diagonal(entries(g))["across"].noise < 0.08
    assert off_diagonal(entries(g), centred=True)["across"].root_mean_square < 0.02


def test_weights_without_gradient_are_left_out_and_counted():
    model = nn.Linear(3, 2)
    objective = Objective(lambda x: (model(x)[:, 0] - 1).square(), model)
    x = torch.randn(10, 3)
    weights = all_weights(model)
    found = gradient_entries(objective, x, weights, progress=False)
    assert found.dead == 4  # a row of the weight and an entry of the bias
    assert found.layer.tolist() == [0, 0, 0, 1]


def test_choices_are_seeded_sorted_and_within_bounds():
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 3))
    first, again = (choose_weights(model, 20, layers=2, seed=5) for _ in range(2))
    assert list(first) == ["0.weight", "1.weight"]
    for name in first:
        assert first[name].equal(again[name])
        assert len(first[name].unique()) == 20
    assert len(choose_weights(model, 20)["1.bias"]) == 3
    with pytest.raises(ValueError, match="only 2 tensors"):
        choose_weights(model, 20, layers=3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"nothing": torch.tensor([0])}, "nothing"), ({"weight": torch.tensor([6])}, "outside")],
)
def test_weights_that_are_not_there_are_refused(weights, message):
    model = nn.Linear(3, 2)
    objective = Objective(lambda x: model(x).sum(1), model)
    with pytest.raises(ValueError, match=message):
        gradient_entries(objective, torch.ones(2, 3), weights, progress=False)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="3 samples"):
        off_diagonal(entries(np.ones((3, 4))))
