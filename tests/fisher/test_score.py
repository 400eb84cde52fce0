"""The mean of the gradient against loops over samples, closed forms and known growth."""

import numpy as np
import pytest
import torch
from known import linear_gaussian, softmax
from torch import nn

from fimetric.fisher.score import score_test
from fimetric.objectives import Objective


def quiet(objective, data, **settings):
    return score_test(objective, data, progress=False, **settings)


def shifted(shift, n=600, seed=0, width=4):
    """Gradients with respect to theta are N(shift, 1) in each of ``width`` dimensions."""
    model = nn.Module()
    model.theta = nn.Parameter(torch.zeros(width, dtype=torch.float64))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, width, generator=generator, dtype=torch.float64) + shift
    return Objective(lambda batch: batch @ model.theta, model), x


@pytest.mark.parametrize("family", [linear_gaussian, softmax])
def test_the_samples_of_an_exact_model_have_a_mean_of_zero(family):
    objective, draw, _ = family()
    found = quiet(objective, draw(1200))
    assert found.whole.low <= 0 <= found.whole.high
    assert abs(found.whole.value) < 0.01
    assert found.samples == 1200


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_a_known_mean_is_found(shift):
    objective, x = shifted(shift)
    found = quiet(objective, x)
    rho = shift**2 / (shift**2 + 1)
    assert found.whole.low < rho < found.whole.high
    assert found.whole.value == pytest.approx(rho, abs=0.03)
    for B, growth in found.growth.items():
        assert growth == pytest.approx(1 + (B - 1) * rho, rel=0.06)


def test_it_is_the_mean_over_pairs_of_samples_by_a_loop():
    objective, x = shifted(0.7, n=11)
    found = quiet(objective, x, batch_size=4, groups=(2, 3))
    pairs = [
        [x[i] @ x[j] for i in b for j in b if i != j] for b in (range(4), range(4, 8), range(8, 11))
    ]
    products = (
        sum(w * float(torch.stack(p).mean()) for w, p in zip((4, 4, 3), pairs, strict=True)) / 11
    )
    assert found.whole.value == pytest.approx(products / float(x.square().sum(1).mean()), rel=1e-12)
    joint = [x[0] + x[1], x[2] + x[3], x[4] + x[5], x[6] + x[7], x[8] + x[9]]
    weights = np.array([4, 4, 4, 4, 3]) / np.array([2, 2, 2, 2, 1])
    mean = np.average([float(g @ g) for g in joint], weights=weights)
    assert found.growth[2] == pytest.approx(mean / (2 * float(x.square().sum(1).mean())), rel=1e-12)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(50):
        objective, x = shifted(0.4, n=240, seed=seed)
        whole = quiet(objective, x, batch_size=20, groups=()).whole
        hits += whole.low <= 0.16 / 1.16 <= whole.high
    assert 42 <= hits <= 50


def test_a_tensor_without_gradient_is_nan_and_leaves_the_others_alone():
    objective, x = shifted(1.0)
    objective.module.unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
    found = quiet(objective, x)
    assert found.names == ("theta", "unused")
    assert np.isnan(found.ratio[1])
    assert found.ratio[0] == pytest.approx(found.whole.value)


def test_gradients_that_are_all_alike_give_one():
    objective, x = shifted(1.0)
    found = quiet(objective, torch.ones_like(x))
    assert found.whole.value == pytest.approx(1)
    assert found.growth[20] == pytest.approx(20)


@pytest.mark.parametrize(
    ("n", "settings", "message"),
    [
        (1, {}, "two batches"),
        (60, {}, "two batches"),
        (61, {}, "two batches"),  # a last batch of one has no pair
        (200, {"groups": (61,)}, "61"),
        (200, {"view": "t=3"}, "t=3"),
    ],
)
def test_what_cannot_be_tested_is_refused(n, settings, message):
    objective, x = shifted(1.0, n=n)
    with pytest.raises(ValueError, match=message):
        quiet(objective, x, **settings)


def test_a_loss_that_is_not_finite_is_refused_by_name():
    model = nn.Linear(2, 1)
    objective = Objective(lambda x: model(x).squeeze(1) / x[:, 0], model)
    x = torch.ones(200, 2)
    x[17, 0] = 0
    with pytest.raises(ValueError, match="'17'"):
        quiet(objective, x)


def test_a_gradient_that_is_not_finite_is_refused_by_its_layer():
    objective, x = shifted(1.0, n=130)
    x[70] = 1e200
    with pytest.raises(ValueError, match="not finite in layer 'theta'"):
        quiet(objective, x)
