"""Distributions over the 256 levels of a pixel: they sum to one, and are finite in float32."""

import mpmath
import pytest
import torch

from fimetric.models.discretised import (
    discretised_gaussian,
    discretised_logistic,
    unit_gaussian,
)


@pytest.mark.parametrize("location", [-1.0, 0.0, 0.3, 1.7])
@pytest.mark.parametrize("log_scale", [-7.0, -3.0, 2.0])
def test_probabilities_of_the_levels_sum_to_one(location, log_scale):
    levels = torch.arange(256, dtype=torch.float64) / 255
    log_p = discretised_logistic(levels, *torch.tensor([[location], [log_scale]]).double())
    assert log_p.isfinite().all()
    # float64 sums of 256 terms
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_probabilities_are_differences_of_the_distribution_function():
    x, location, log_scale = torch.tensor([[100 / 255], [0.35], [-2.0]]).double()
    inside = torch.sigmoid((x - location + torch.tensor([0.5, -0.5]) / 255) / log_scale.exp())
    expected = (inside[0] - inside[1]).log()
    torch.testing.assert_close(discretised_logistic(x, location, log_scale)[0], expected)


@pytest.mark.parametrize("x", [0.0, 1 / 255, 0.5, 1.0])
@pytest.mark.parametrize("location", [-50.0, 0.5, 50.0])
def test_far_tails_are_finite_in_float32_with_finite_gradients(x, location):
    at = torch.tensor([location], requires_grad=True)
    scale = torch.tensor([-6.9], requires_grad=True)
    log_p = discretised_logistic(torch.tensor([x]), at, scale)
    log_p.sum().backward()
    assert log_p.isfinite().all() and at.grad.isfinite().all() and scale.grad.isfinite().all()


@pytest.mark.parametrize("mean", [-1.2, -0.3, 0.0, 0.999])
@pytest.mark.parametrize("std", [1e-3, 0.01, 0.5, 3.0])
def test_gaussian_probabilities_of_the_levels_sum_to_one(mean, std):
    x = 2 * torch.arange(256, dtype=torch.float64)[:, None] / 255 - 1
    log_p = discretised_gaussian(x, torch.tensor([[mean]]).double(), torch.tensor(std).double())
    assert log_p.shape == (256,) and log_p.isfinite().all()
    # float64 sums of 256 terms
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_gaussian_probabilities_are_differences_of_the_distribution_function():
    x, mean, std = torch.tensor([[201 / 255 - 1, 41 / 255 - 1]]).double(), -0.3, 0.2
    normal = torch.distributions.Normal(mean, std)
    expected = (normal.cdf(x + 1 / 255) - normal.cdf(x - 1 / 255)).log().sum(1)
    found = discretised_gaussian(x, torch.full_like(x, mean), torch.tensor(std))
    # a standard deviation in float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("x", [-1.0, 1 / 255 - 1, 1.0])
@pytest.mark.parametrize("mean", [-50.0, 50.0])
def test_far_tails_of_a_gaussian_are_finite_in_float32(x, mean):
    found = discretised_gaussian(torch.tensor([[x]]), torch.tensor([[mean]]), torch.tensor(0.01))
    assert found.dtype == torch.float32 and found.isfinite().all()


def mass(x: float, mean: float, std: float, half: float) -> float:
    """Return the log probability of the bin about x, in fifty digits."""
    with mpmath.workdps(50):
        at = abs(mpmath.mpf(x) - mpmath.mpf(mean))
        a, b = ((at + k * mpmath.mpf(half)) / mpmath.mpf(std) / mpmath.sqrt(2) for k in (-1, 1))
        return float(mpmath.log((mpmath.erfc(a) - mpmath.erfc(b)) / 2))


@pytest.mark.parametrize("std", [0.01, 1.0])
@pytest.mark.parametrize("deviations", [-60.0, -8.0, 8.0, 60.0])
def test_both_tails_of_a_gaussian_are_exact(std, deviations):
    x = torch.tensor([[201 / 255 - 1]], dtype=torch.float64)
    mean = (x - std * deviations).requires_grad_()
    found = discretised_gaussian(x, mean, torch.tensor(std, dtype=torch.float64))
    assert found.item() == pytest.approx(mass(x.item(), mean.item(), std, 1 / 255), rel=1e-10)
    found.backward()
    assert mean.grad.item() * deviations > 0  # towards the level: nothing is floored


@pytest.mark.parametrize("away", [-36.0, -8.0, -0.1, 0.0, 0.3, 8.0, 36.0])
def test_both_tails_of_a_unit_gaussian_are_exact(away):
    x = torch.tensor([101 / 255], dtype=torch.float64)
    found = unit_gaussian(x, x - away).item()
    assert found == pytest.approx(mass(x.item(), (x - away).item(), 1, 0.5 / 255), rel=1e-9)


@pytest.mark.parametrize("location", [-5.0, 0.4, 5.0])
def test_probabilities_of_the_levels_under_a_unit_gaussian_sum_to_one(location):
    x = torch.arange(256, dtype=torch.float64) / 255
    log_p = unit_gaussian(x, torch.tensor(location, dtype=torch.float64))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
