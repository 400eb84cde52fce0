"""The uses on docs/gradients.md, against explicit gradients of every sample, and against Opacus."""

import contextlib
import copy
import io
import itertools
import re

import pytest
import torch
from torch import nn

import fimetric as fm
from explicit import CASES, convolutional, flat, gradients, of_images
from fimetric.gradients import MixedSamplesError
from pages import DOCS, run

PAGE = DOCS / "gradients.md"


@pytest.fixture(scope="module")
def example():
    """Run the page once; return its names, and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = run(PAGE)
    return names, [float(line) for line in printed.getvalue().split()]


@pytest.fixture
def names(example, monkeypatch):
    """Return the page's names, with its data in float64 and few of them."""
    monkeypatch.setitem(example[0], "x", example[0]["x"][:40].double())
    monkeypatch.setitem(example[0], "y", example[0]["y"][:40])
    return example[0]


def test_the_page_prints_what_it_says(example):
    said = re.findall(r"print\(.*#(.*)", PAGE.read_text())
    numbers = [float(number) for line in said for number in line.split(",")]
    assert example[1] == pytest.approx(numbers, rel=0.03)


cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)


@cases
@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("how", ["clip", "clip_once"])
def test_clipped_sum(names, case, share, how):
    """C below all norms, between them and above."""
    model, losses = case(names)
    single = gradients(model, losses)
    lengths = single.norm(dim=1)
    C = float(lengths.min() + share * (lengths.max() - lengths.min())) * 0.999 + 1e-6
    factors = torch.where(lengths > C, C / lengths, 1)
    found = names[how](fm.GradientNorms(model), losses, C)
    if how == "clip":
        torch.testing.assert_close(found, factors, rtol=1e-9, atol=0)
        found = {name: p.grad for name, p in model.named_parameters()}
    assert list(found) == [name for name, _ in model.named_parameters()]
    torch.testing.assert_close(flat(found.values()), factors @ single, rtol=1e-9, atol=1e-12)


def test_no_clipped_gradient_is_longer_than_its_bound(example):
    names, _ = example
    for seed in range(3):
        torch.manual_seed(seed)
        model = convolutional()
        losses = names["losses_of"](model, range(64))
        single = gradients(model, losses).double()
        C = float(single.norm(dim=1).min()) / 2
        factors = names["clip"](fm.GradientNorms(model), losses, C).double()
        clipped = factors.unsqueeze(1) * single
        assert clipped.norm(dim=1).max() <= C * (1 + 1e-5)


def test_batches_of_any_size(names):
    model = convolutional().double()
    norms = fm.GradientNorms(model)
    for size in (9, 1, 4, 30):
        losses = names["losses_of"](model, range(size))
        single = gradients(model, losses)
        factors = names["clip"](norms, losses, 5.0)
        expected = factors @ single
        torch.testing.assert_close(flat(p.grad for p in model.parameters()), expected)
        model.zero_grad()


def test_a_loss_that_is_not_finite_makes_the_sum_nan(names):
    model, losses = of_images(names)
    names["clip"](fm.GradientNorms(model), losses * torch.tensor([float("nan")] + 11 * [1.0]), 5.0)
    assert flat(p.grad for p in model.parameters()).isnan().all()


def test_nothing_is_summed_where_samples_are_mixed(names):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    losses = names["losses_of"](model.double(), range(12))
    with pytest.raises(MixedSamplesError, match="batch"):
        names["clip"](fm.GradientNorms(model), losses, 5.0)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.filterwarnings("ignore")  # of Opacus, about itself
@pytest.mark.parametrize("ghost", [False, True], ids=["hooks", "ghost clipping"])
def test_the_clipped_sum_is_that_of_opacus(names, ghost):
    pytest.importorskip("opacus", reason="opacus is not installed; make bench installs it")
    model = convolutional().double()
    losses = names["losses_of"](model, range(30))
    C = float(gradients(model, losses).norm(dim=1).median())
    theirs = by_opacus(copy.deepcopy(model), ghost, names["losses_of"], C)
    factors = names["clip"](fm.GradientNorms(model), losses, C)
    assert 0 < (factors < 1).sum() < 30
    for parameter, expected in zip(model.parameters(), theirs, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-6)


def by_opacus(model, ghost, losses_of, C):
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

    settings = {"noise_multiplier": 0.0, "expected_batch_size": None, "loss_reduction": "sum"}
    sgd = torch.optim.SGD(model.parameters(), lr=0.0)
    if ghost:
        wrapped = GradSampleModuleFastGradientClipping(model, max_grad_norm=C, loss_reduction="sum")
        optimizer = DPOptimizerFastGradientClipping(sgd, max_grad_norm=C, **settings)
        losses = losses_of(wrapped, range(30))
        DPTensorFastGradientClipping(wrapped, optimizer, losses, "sum").backward()
        return [p.grad for p in model.parameters()]
    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(sgd, max_grad_norm=C, **settings)
    losses_of(wrapped, range(30)).sum().backward()
    optimizer.clip_and_accumulate()
    return [p.summed_grad for p in model.parameters()]


def noise_scale(names, model, losses):
    return names["noise_scale"](fm.GradientNorms(model), list(model.parameters()), losses)


@cases
def test_noise_scale_of_one_batch(names, case):
    """The trace is that of the covariance of the gradients, tensor by tensor."""
    model, losses = case(names)
    if len(losses) == 1:
        assert not any(f.isfinite().any() for f in noise_scale(names, model, losses))
        return
    single = gradients(model, losses)
    mean = single.mean(0)
    traces = single.var(0).split([p.numel() for p in model.parameters()])
    trace, square = noise_scale(names, model, losses)
    expected = torch.stack([part.sum() for part in traces])
    torch.testing.assert_close(trace, expected, rtol=1e-8, atol=1e-12)
    unbiased = mean.square().sum() - single.var(0).sum() / len(losses)
    torch.testing.assert_close(square.sum(), unbiased, rtol=1e-8, atol=1e-12)


def test_both_estimates_are_unbiased(names):
    """Over all batches of two from six samples, drawn with replacement, they average to the truth.

    The truth is the covariance and the mean gradient of the six.
    """
    model = convolutional().double()
    single = gradients(model, names["losses_of"](model, range(6)))
    pairs = itertools.product(range(6), repeat=2)
    found = [noise_scale(names, model, names["losses_of"](model, list(pair))) for pair in pairs]
    trace, square = (torch.stack(values).mean(0).sum() for values in zip(*found, strict=True))
    torch.testing.assert_close(trace, single.var(0, correction=0).sum())
    torch.testing.assert_close(square, single.mean(0).square().sum())


def test_samples_that_are_all_alike_have_no_noise(names):
    model = convolutional().double()
    trace, square = noise_scale(names, model, names["losses_of"](model, [4] * 8))
    assert trace.abs().sum() < 1e-12 * square.sum()


def moments(names, model):
    """Return the gradients of all samples, and what the page's variance takes."""
    losses = names["losses_of"](model, range(len(names["x"])))
    single = gradients(model, losses)
    norms = fm.GradientNorms(model)(losses, retain_graph=True)
    G = torch.autograd.grad(losses.mean(), list(model.parameters()))
    return single, norms.sum(1), G


def variance_of_one_draw(single, p):
    draws = single / (len(p) * p.unsqueeze(1))
    return p @ (draws - single.mean(0)).square().sum(1)


@pytest.fixture
def model(names):
    model = convolutional().double()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(50):
        optimiser.zero_grad()
        names["losses_of"](model, range(len(names["x"]))).mean().backward()
        optimiser.step()
    return model


def test_variance_of_a_draw(names, model):
    single, squares, G = moments(names, model)
    for lengths in (torch.ones(40).double(), squares.sqrt(), torch.rand(40).double()):
        expected = variance_of_one_draw(single, lengths / lengths.sum())
        torch.testing.assert_close(names["variance"](lengths, squares, G), expected)


def test_a_sample_without_gradient_need_not_be_drawn(names):
    squares = torch.tensor([0.0, 1.0, 9.0])  # gradients 0, 1 and 3 in one direction
    G = [torch.tensor([4 / 3])]
    assert names["variance"](squares.sqrt(), squares, G) == pytest.approx(0, abs=1e-6)


def test_drawing_by_the_norm_has_the_least_variance(names, model):
    _, squares, G = moments(names, model)
    least = names["variance"](squares.sqrt(), squares, G)
    closed = squares.sqrt().mean() ** 2 - sum(g.square().sum() for g in G)
    torch.testing.assert_close(least, closed)
    for _ in range(20):
        other = squares.sqrt() * (0.1 * torch.randn(40)).exp()
        assert names["variance"](other, squares, G) > least


def test_draws_are_unbiased_and_vary_as_said(names, model):
    single, squares, G = moments(names, model)
    lengths = squares.sqrt() + squares.sqrt().mean()  # not the best, so that both terms count
    drawn = [names["draw"](model, lengths, 20).mean() for _ in range(400)]
    errors = gradients(model, drawn) - single.mean(0)
    one = names["variance"](lengths, squares, G)
    assert errors.mean(0).square().sum() < 2 * one / (20 * 400)
    torch.testing.assert_close(errors.square().sum(1).mean(), one / 20, rtol=0.1, atol=0)


def test_the_last_bias_has_the_norm_of_what_enters_the_softmax(names, model):
    logits = model(names["x"]).detach().requires_grad_()
    losses = nn.functional.cross_entropy(logits, names["y"], reduction="sum")
    (entering,) = torch.autograd.grad(losses, logits)
    last = fm.GradientNorms([("bias", model[-1].bias)])
    found = last(names["losses_of"](model, range(40)))
    torch.testing.assert_close(found[:, 0], entering.square().sum(1))
