"""The Fisher matrix of a denoising regression: Gauss-Newton, in closed form for a linear model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fimetric.fisher.matrix import gradient_entries
from fimetric.fisher.regression import DenoisingRegression, Noised, residual_deviation
from fimetric.fisher.score import score_test
from fimetric.objectives import Denoising


class Linear(nn.Module):
    """Predicts W x_t: J is known."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 4, bias=False).double()

    def forward(self, x, t):
        return self.map(x.flatten(1)).view_as(x)


@pytest.fixture
def denoising():
    scheduler = SimpleNamespace(alphas_cumprod=torch.linspace(0.9, 0.1, 10), config=None)
    return Denoising(Linear().eval(), scheduler, timesteps=(4,))


@pytest.fixture
def images():
    return torch.rand(3000, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()


def test_it_is_gauss_newton(denoising, images):
    s = 0.7
    regression = DenoisingRegression.of(denoising, s)
    weights = {"map.weight": torch.arange(16)}
    data = Noised(images, batch_size=500, seed=1)
    found = gradient_entries(regression, data, weights, progress=False).second_moment()
    a = denoising.scheduler.alphas_cumprod[4].double()
    x_t = torch.cat([a.sqrt() * (2 * b["x"] - 1) + (1 - a).sqrt() * b["noise"] for b in data])
    moments = x_t.flatten(1).T @ x_t.flatten(1) / len(x_t)
    expected = torch.kron(torch.eye(4, dtype=torch.float64), moments) / s**2
    assert np.abs(found - expected.numpy()).max() < 0.12 * float(expected.max())
    assert np.abs(found - expected.numpy()).mean() < 0.02 * float(expected.max())


def test_the_gradient_has_mean_zero_whatever_the_residual(denoising, images):
    regression = DenoisingRegression.of(denoising, 1.0)
    found = score_test(regression, Noised(images, 60), progress=False)
    assert found.whole.low <= 0 <= found.whole.high
    plain = score_test(denoising, images, progress=False)
    assert plain.whole.value > 0.2  # the same model's denoising loss is no likelihood


def test_every_sample_has_noise_of_its_own_and_the_same_each_time(images):
    data = Noised(images[:10], batch_size=5, seed=2)
    first, again = list(data), list(data)
    assert first[1]["noise"].equal(again[1]["noise"])
    every = torch.cat([torch.cat([b["noise"], b["target"]]) for b in first])
    assert len(every.unique()) == every.numel()


def test_the_deviation_is_that_of_the_residual(denoising, images):
    with torch.no_grad():
        denoising.module.map.weight.zero_()
    assert residual_deviation(denoising, images) == pytest.approx(1, abs=0.02)  # of eps itself


def test_what_is_no_regression_is_refused(denoising, images):
    with pytest.raises(ValueError, match="deviation"):
        DenoisingRegression.of(denoising, 0.0)
    with pytest.raises(ValueError, match="Noised"):
        DenoisingRegression.of(denoising, 1.0)(images[:2])
    two = Denoising(denoising.module, denoising.scheduler, timesteps=(1, 2))
    with pytest.raises(ValueError, match="one timestep"):
        residual_deviation(two, images)
