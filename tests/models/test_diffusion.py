"""The denoising loss and the variational bound, against cases with a known answer."""

import math

import pytest
import torch
from tests.models.gaussians import best_denoiser

from fimetric.models import Diffusion, build
from fimetric.models.ddpm import strata
from fimetric.models.diffusion import DiffusionConfig

SHAPE = (1, 8, 8)
SHORT = DiffusionConfig(
    channels=(8, 8), groups=2, attention=False, timesteps=12, beta_start=0.02, beta_end=0.6
)


@pytest.fixture
def model() -> Diffusion:
    return build("diffusion", SHORT, SHAPE).eval()


def levels(n: int) -> torch.Tensor:
    return torch.randint(256, (n, *SHAPE), generator=torch.Generator().manual_seed(0)) / 255


def test_bound_is_tight_for_gaussian_data_with_the_best_denoiser(monkeypatch):
    """A prior N(m, s^2) per dimension has a linear denoiser and a known entropy."""
    fine = DiffusionConfig(channels=(8,), groups=2, attention=False, timesteps=400, beta_end=0.05)
    model = build("diffusion", fine, SHAPE).double()
    mean, std = -0.1, 0.3
    abar = model.scheduler.alphas_cumprod.double()
    monkeypatch.setattr(model, "predict", best_denoiser(abar, mean, std))
    g = torch.Generator().manual_seed(0)
    x0 = (mean + std * torch.randn(200, *SHAPE, generator=g).double()).clamp(-1, 1)
    x = ((x0 + 1) * 127.5).round() / 255
    density = torch.distributions.Normal(mean, std).log_prob(2 * x - 1) + math.log(2 / 255)
    entropy = -density.flatten(1).mean(1) / math.log(2)
    found = model.bits_per_dim(x, g, timesteps=None)
    # the reverse steps are Gaussian only in the limit of many: 400 of them leave some 0.02 bits
    assert 0 < (found - entropy).mean() < 0.06


def test_strata_leave_the_bound_unbiased(model):
    x = levels(1).expand(400, *SHAPE)
    with torch.no_grad():
        exact = model.bits_per_dim(x, torch.Generator().manual_seed(0), timesteps=None)
        few = model.bits_per_dim(x, torch.Generator().manual_seed(1), timesteps=3)
    error = ((exact.var() + few.var()) / 400).sqrt()
    assert abs(exact.mean() - few.mean()) < 5 * error
    assert error < 0.1 * exact.mean()


def test_strata_are_increasing_and_cover_all():
    assert strata(1000, None) == list(range(1, 1001))
    for number in (1, 5, 40, 5000):
        edges = strata(1000, number)
        assert edges[0] == 1 and edges[-1] == 1000 and len(edges) <= max(number, 2) + 1
        assert edges == sorted(set(edges))
    with pytest.raises(ValueError, match="at least 1"):
        strata(1000, 0)


def test_decoder_levels_sum_to_one(model, monkeypatch):
    monkeypatch.setattr(model, "predict", lambda x_t, t: torch.zeros_like(x_t))
    noisy = torch.full((256, 1, 1, 1), 0.983)
    monkeypatch.setattr(model, "_noisy", lambda x0, t, g: (noisy, noisy))
    x0 = 2 * torch.arange(256.0).reshape(256, 1, 1, 1) / 255 - 1
    assert (-model._decoder_term(x0, None)).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_training_loss_is_the_error_of_the_noise(loss, monkeypatch):
    model = build("diffusion", DiffusionConfig(channels=(8,), groups=2, loss=loss), SHAPE)
    monkeypatch.setattr(model, "predict", lambda x_t, t: torch.zeros_like(x_t))
    found = model.training_losses(levels(500), torch.Generator().manual_seed(0)).mean() / 64
    # E|eps| = sqrt(2 / pi), E eps^2 = 1; 32,000 draws
    assert found.item() == pytest.approx(1 if loss == "l2" else (2 / math.pi) ** 0.5, abs=0.03)


def test_noise_follows_the_schedule(model):
    x0 = torch.full((4000, 1, 1, 1), 0.7)
    t = torch.full((4000,), 5)
    x_t, _ = model._noisy(x0, t, torch.Generator().manual_seed(0))
    abar = model.scheduler.alphas_cumprod[5]
    assert x_t.mean().item() == pytest.approx(0.7 * abar.sqrt().item(), abs=0.07)
    assert x_t.var().item() == pytest.approx(1 - abar.item(), rel=0.1)


def test_ddim_with_the_best_denoiser_of_one_image_finds_it(model, monkeypatch):
    target = 2 * levels(1) - 1
    abar = model.scheduler.alphas_cumprod
    monkeypatch.setattr(model, "predict", best_denoiser(abar, target, 0))
    found = model.sample(2, torch.Generator().manual_seed(0), steps=6)
    # one level: the target is divided by 127.5 and rounded in float32
    assert (found - levels(1)).abs().max() < 0.5 / 255


def test_paper_configuration():
    model = build("diffusion", "paper", (3, 32, 32))
    assert model.unet.config.block_out_channels == (32, 64, 128, 256)
    assert model.config.loss == "l1" and len(model.scheduler.betas) == 1000


def test_unfit_settings_are_refused():
    with pytest.raises(ValueError, match="divisible by 4, got 6x8"):
        build("diffusion", "small", (1, 6, 8))
    with pytest.raises(ValueError, match=r"value 'huber' - at `\$.loss`"):
        build("diffusion", {"loss": "huber"}, (1, 32, 32))
