"""A distribution over levels, causal in its order, from which samples are drawn as it says."""

import math

import pytest
import torch
from tests.models.single_samples import assert_norms_are_those_of_single_samples

import fimetric as fm
from fimetric.models import build
from fimetric.models.pixelcnn import PixelCNN, PixelCNNConfig

GREY, COLOUR = (1, 4, 5), (3, 4, 5)


def perturbed(shape: tuple[int, int, int], layers: int = 3) -> PixelCNN:
    """Return a model whose biases and weights are all far from where they begin."""
    model = build("pixelcnn", PixelCNNConfig(layers, 4, 3), shape).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double()
    return model


def levels(n: int, shape: tuple[int, int, int]) -> torch.Tensor:
    found = torch.randint(256, (n, *shape), generator=torch.Generator().manual_seed(2))
    return found.double() / 255


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_a_level_changes_no_conditional_before_it_and_those_after(shape):
    model, x = perturbed(shape), levels(1, shape)
    channels, height, width = shape
    by_order = (0, 2, 3, 1)  # rows, columns, channels
    expected = model.conditionals(x).permute(by_order).flatten()
    for i, j, c in [(0, 0, 0), (1, 2, channels - 1), (2, 4, 0), (3, 4, channels - 1)]:
        other = x.clone()
        other[0, c, i, j] = 1 - other[0, c, i, j]
        found = model.conditionals(other).permute(by_order).flatten()
        at = (i * width + j) * channels + c
        assert torch.equal(found[:at], expected[:at])
        assert found[at] != expected[at]
        last = at + 1 == math.prod(shape)
        assert last or found[at + 1] != expected[at + 1]
        if i + 1 < height:  # what lies below, to the right and the left of it
            seen = (found != expected).unflatten(0, (height, width, channels))[i + 1, :, 0]
            assert seen[max(0, j - 1) : j + 2].all()


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 2, 2)])
def test_probabilities_of_the_levels_of_each_conditional_sum_to_one(shape):
    model, x = perturbed(shape), levels(1, shape)
    for place in [(0, 0, 0), (0, 1, 1), (shape[0] - 1, 1, 0)]:
        every = x.repeat(256, 1, 1, 1)
        every[(slice(None), *place)] = torch.arange(256).double() / 255
        log_p = model.conditionals(every)[(slice(None), *place)]
        # float64 sums of 256 terms
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_probabilities_of_all_images_of_two_pixels_sum_to_one():
    model = perturbed((1, 1, 2), layers=1)
    first, second = torch.cartesian_prod(*[torch.arange(256)] * 2).double().T / 255
    with torch.no_grad():
        log_p = model.log_prob(torch.stack([first, second], 1)[:, None, None])
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_bits_per_dim_and_losses_are_the_log_probability(shape):
    model, x = perturbed(shape), levels(3, shape)
    log_p = model.log_prob(x)
    torch.testing.assert_close(model.conditionals(x).sum((1, 2, 3)), log_p)
    assert torch.equal(model.training_losses(x, None), -log_p)
    bits = -log_p / (math.prod(shape) * math.log(2))
    torch.testing.assert_close(model.bits_per_dim(x, None), bits)


def test_features_and_the_model_agree_on_bits_per_dimension():
    model = build("pixelcnn", "tiny", (1, 8, 8)).eval()
    digits = fm.data.load("digits", "test", limit=30)
    found = fm.extract(fm.objectives.standard_objective(model), digits, progress=False)
    expected = model.bits_per_dim(digits.tensor(range(30)), None).detach().double().numpy()
    assert found.bits_per_dim == pytest.approx(expected, rel=1e-5)


def test_log_prob_of_a_sample_is_independent_of_its_batch():
    model, x = perturbed(COLOUR), levels(4, COLOUR)
    alone = torch.cat([model.log_prob(v[None]) for v in x])
    torch.testing.assert_close(model.log_prob(x), alone, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_norms_are_those_of_single_samples(shape, caplog):
    model, x = perturbed(shape), levels(5, shape)
    objective = fm.objectives.standard_objective(model)
    found = assert_norms_are_those_of_single_samples(
        objective, lambda v: -model.log_prob(v), x, caplog
    )
    assert (found > 0).all()  # no parameter is dead


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_each_pixel_is_drawn_from_its_conditional(shape):
    """Of one logistic a draw is the level where the distribution function passes a uniform."""
    model = build("pixelcnn", PixelCNNConfig(3, 4, 1), shape).double().eval()
    with torch.no_grad():
        x = model.sample(6, torch.Generator().manual_seed(3))
        g = torch.Generator().manual_seed(3)
        torch.rand(6, 1, *shape[1:], generator=g)
        uniform = torch.rand(6, *shape, generator=g).double().clamp(1e-6, 1 - 1e-6)
        every = torch.arange(256).double() / 255
        for c, i, j in [(0, 0, 0), (shape[0] - 1, 0, 1), (0, 2, 3), (shape[0] - 1, 3, 4)]:
            for n in range(6):
                each = x[n : n + 1].repeat(256, 1, 1, 1)
                each[:, c, i, j] = every
                below = model.conditionals(each)[:, c, i, j].exp().cumsum(0)
                level = round(x[n, c, i, j].item() * 255)
                # 1e-6: float32 uniforms
                assert level == 0 or below[level - 1] <= uniform[n, c, i, j] + 1e-6
                assert uniform[n, c, i, j] <= below[level] + 1e-6


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 2, 2)])
def test_samples_have_the_code_length_that_the_model_expects(shape):
    """E[-log P(x)] of draws is the entropy; the chain rule gives it by draws of the pixels before.

    A sampler of other mixtures, scales or orders would be off by more than the error.
    """
    model = perturbed(shape)
    x = model.sample(3000, torch.Generator().manual_seed(4))
    with torch.no_grad():
        found = model.conditionals(x)
        expected = torch.stack([_entropies(model, x[n : n + 1]) for n in range(20)])
    difference = -found.mean(0) - expected.mean(0)
    error = (found.var(0) / len(found) + expected.var(0) / len(expected)).sqrt()
    assert (difference.abs() < 5 * error + 1e-9).all()


def _entropies(model: PixelCNN, x: torch.Tensor) -> torch.Tensor:
    """Return the entropy (C, H, W) in nats of each conditional, given the levels before in x."""
    found = torch.empty(x.shape[1:]).double()
    for place in torch.cartesian_prod(*map(torch.arange, x.shape[1:])).tolist():
        every = x.repeat(256, 1, 1, 1)
        every[(slice(None), *place)] = torch.arange(256).double() / 255
        log_p = model.conditionals(every)[(slice(None), *place)]
        found[tuple(place)] = -(log_p.exp() * log_p).sum()
    return found


def test_a_model_of_one_channel_in_float32_is_close_to_float64():
    model = build("pixelcnn", "tiny", (1, 8, 8)).eval()
    x = levels(4, (1, 8, 8)).float()
    single = model.log_prob(x).double()
    torch.testing.assert_close(model.double().log_prob(x.double()), single, rtol=1e-5, atol=0)


def test_the_weights_of_the_small_model_fit_their_place():
    model = build("pixelcnn", "small", (1, 32, 32))
    assert 2 * sum(p.numel() for p in model.parameters()) < 1e6  # bytes in half precision
