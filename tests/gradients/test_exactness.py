"""The engine against the loop that runs every sample alone."""

import pytest
import torch
from zoo import ZOO, N

from fimetric.gradients import GradientNorms
from fimetric.gradients.checks import rounding_bound
from fimetric.gradients.reference import gradients_one_by_one, squared_gradient_norms

# UNAF integrates numerically and Mamba has in-place scans: both need a rounding unit or two more.
FLOAT64, FLOAT32 = 1e-9, 1e-4


def made(name, dtype):
    torch.manual_seed(0)
    module, batch, losses = ZOO[name]()
    module = module if name == "complex_parameters" else module.to(dtype)
    batch = batch.to(dtype) if batch.is_floating_point() else batch
    return module, batch, losses


def alone(batch, size=1):
    return batch.split(size)


def assert_equal(got, expected, bound, rtol):
    excess = (got - expected).abs() - rtol * expected - bound
    assert (excess <= 0).all(), excess.max()


@pytest.mark.parametrize("name", ZOO)
def test_equals_the_loop_in_float64(name):
    module, batch, losses = made(name, torch.float64)
    norms = GradientNorms(module)
    parameters = [p for _, p in module.named_parameters() if p.requires_grad]
    expected = squared_gradient_norms(losses, alone(batch), parameters)
    bound = norms.measure(losses(batch)).bound
    for _ in range(2):  # the plan is made, then reused
        assert_equal(norms(losses(batch)), expected, bound, FLOAT64)
    shuffled = torch.randperm(N)[:N] if len(batch) == N else torch.tensor([1, 0])
    assert_equal(norms(losses(batch[shuffled])), expected[shuffled], bound[shuffled], FLOAT64)
    assert (expected > 0).any()


@pytest.mark.parametrize("name", [name for name in ZOO if name != "complex_parameters"])
def test_equals_the_loop_in_float32(name):
    module, batch, losses = made(name, torch.float32)
    norms = GradientNorms(module)
    table = norms(losses(batch))
    measured = norms.measure(losses(batch))
    parameters = [p for _, p in module.named_parameters() if p.requires_grad]
    expected = squared_gradient_norms(losses, alone(batch), parameters)
    assert table.dtype == torch.float32
    assert_equal(table, expected, measured.bound, FLOAT32)


@pytest.mark.parametrize("name", [n for n in ZOO if n != "two_samples"])
def test_gram_and_contributions(name):
    module, batch, losses = made(name, torch.float64)
    norms = GradientNorms(module)
    parameters = [p for _, p in module.named_parameters() if p.requires_grad]
    expected = gradients_one_by_one(losses(batch), parameters)
    gram = norms.gram(losses(batch))
    found = dict(norms.contributions(losses(batch)))
    assert list(found) == norms.names
    for j, (name_, parameter) in enumerate(zip(norms.names, parameters, strict=True)):
        want = torch.zeros(N, *parameter.shape, dtype=parameter.dtype)
        want = want if expected[j] is None else expected[j]
        torch.testing.assert_close(found[name_].dense().reshape(want.shape).to(want), want)
        assert not found[name_].dense().requires_grad
        flat = want.reshape(N, -1)
        torch.testing.assert_close(gram[j], (flat @ flat.mH).real.to(gram))


@pytest.mark.parametrize(
    "name", ["perceptron", "convolutions_2d", "tied_weights", "lstm_bidirectional"]
)
def test_groups_of_five(name):
    torch.manual_seed(1)
    module, batch, losses = made(name, torch.float64)
    batch = torch.cat([batch, batch.flip(0), batch.roll(1, 0)])
    norms = GradientNorms(module)
    table = norms(losses(batch).view(3, 5).sum(1))
    expected = squared_gradient_norms(losses, alone(batch, 5), list(module.parameters()))
    torch.testing.assert_close(table, expected, rtol=FLOAT64, atol=0)


@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 40, 257])
def test_any_number_of_samples(samples):
    torch.manual_seed(2)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)
    ).double()
    batch = torch.randn(samples, 4, dtype=torch.float64)
    losses = lambda x: module(x).square().sum(1)  # noqa: E731
    expected = squared_gradient_norms(losses, alone(batch), list(module.parameters()))
    torch.testing.assert_close(GradientNorms(module)(losses(batch)), expected, rtol=1e-12, atol=0)


def test_structural_zero_stays_below_its_bound():
    torch.manual_seed(3)
    x = torch.randn(8, 1, 9, 9)
    conv = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3), torch.nn.GroupNorm(1, 1), torch.nn.ReLU())
    norms = GradientNorms(conv)
    measured = norms.measure(conv(x).pow(3).sum((1, 2, 3)))
    below = (measured.table <= measured.bound).all(0).tolist()
    assert [name for name, zero in zip(norms.names, below, strict=True) if zero] == ["0.bias"]
    assert (measured.table[:, 1] > 0).any()  # noise, not an exact zero


def test_structural_zero_below_a_parameter_only_subgraph():
    """The gain of a weight norm before a normalisation cancels inside the subgraph."""
    torch.manual_seed(4)
    linear = torch.nn.utils.parametrizations.weight_norm(
        torch.nn.Linear(6, 4, bias=False), dim=None
    )
    norms = GradientNorms(linear)
    h = linear(torch.randn(8, 6))
    measured = norms.measure((h / h.norm(dim=1, keepdim=True)).pow(3).sum(1))
    gain = norms.names.index("parametrizations.weight.original0")
    assert (measured.table[:, gain] <= measured.bound[:, gain]).all()
    assert (measured.table[:, 1 - gain] > measured.bound[:, 1 - gain]).all()


def test_bound_is_in_the_units_of_the_norms():
    scale = torch.tensor([2.0])
    assert rounding_bound(10 * scale, 1e-7) == pytest.approx(100 * rounding_bound(scale, 1e-7))


def test_cancelling_terms_keep_float32_precision():
    """Two positions that nearly cancel: the Gram form in float32 would lose several percent."""
    torch.manual_seed(5)
    linear = torch.nn.Linear(64, 64, bias=False)
    x = torch.randn(3, 1, 64).expand(3, 2, 64) + 1e-4 * torch.randn(3, 2, 64)
    sign = torch.tensor([1.0, -1.0]).view(1, 2, 1)
    weight = torch.randn(3, 1, 64)
    table = GradientNorms(linear)((linear(x) * weight * sign).sum((1, 2)))
    difference = (x.double() * sign).sum(1).square().sum(1)
    expected = difference * weight.double().squeeze(1).square().sum(1)
    torch.testing.assert_close(table[:, 0].double(), expected, rtol=1e-3, atol=0)
