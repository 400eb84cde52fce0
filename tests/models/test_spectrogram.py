"""A bound on the density of spectrograms, and an objective that adds noise to them."""

import math

import pytest
import torch
from tests.models.gaussians import best_denoiser

import fimetric as fm
from fimetric.claims.draws import draw
from fimetric.data import Samples
from fimetric.models import Spectrogram, SpectrogramConfig, build, build_for
from fimetric.models.log_mel import LogMel

SMALL = {"bands": 4, "hop": 8, "window": 32, "rate": 8000}
SHORT = SpectrogramConfig(
    channels=(8, 8), groups=2, attention=False, timesteps=12, beta_start=0.02, beta_end=0.6, **SMALL
)


def noise(n: int, length: int = 64) -> torch.Tensor:
    return 0.1 * torch.randn(n, length, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> Spectrogram:
    made = build("spectrogram", SHORT, (64,)).eval()
    made.initialise(noise(50))
    return made


def test_bands_are_standardised_by_the_first_clips(model):
    x, log_mel = noise(50), LogMel(8000, 4, 8, 32)
    bands = log_mel(x).double()
    for k in range(4):
        mean, deviation = bands[:, :, k].mean(), bands[:, :, k].std(correction=0)
        expected = (log_mel(x[:3])[:, :, k] - mean) / deviation
        torch.testing.assert_close(model.encoder(x[:3])[:, :, k], expected.float())
    again = model.encoder.restored(model.encoder(x))
    torch.testing.assert_close(again, log_mel(x))


def test_constant_bands_and_a_single_clip_keep_their_scale(model):
    model.initialise(torch.zeros(1, 64))
    assert (model.encoder.deviation == 1).all()
    assert (model.encoder(torch.zeros(2, 64)) == 0).all()


def test_bound_is_tight_for_gaussian_spectrograms_with_the_best_denoiser(monkeypatch):
    """A prior N(m, s^2) per dimension has a linear denoiser and a known entropy."""
    fine = SpectrogramConfig(
        channels=(8,), groups=2, attention=False, timesteps=400, beta_end=0.05, **SMALL
    )
    model = build("spectrogram", fine, (64,)).double()
    mean, std = -0.4, 0.8
    abar = model.scheduler.alphas_cumprod.double()
    monkeypatch.setattr(model, "predict", best_denoiser(abar, mean, std))
    g = torch.Generator().manual_seed(0)
    z = mean + std * torch.randn(1000, 1, 4, 8, generator=g).double()
    monkeypatch.setattr(model.encoder, "forward", lambda x: z)
    density = torch.distributions.Normal(mean, std).log_prob(z)
    entropy = -density.flatten(1).mean(1) / math.log(2)
    found = model.bits_per_dim(noise(1000), g, timesteps=None)
    # the reverse steps are Gaussian only in the limit of many: 400 of them leave some 0.02 bits
    slack = found - entropy
    assert -3 * slack.std() / 1000**0.5 < slack.mean() < 0.06


def test_the_last_step_is_a_gaussian_density(model, monkeypatch):
    monkeypatch.setattr(model, "predict", lambda x_t, t: torch.zeros_like(x_t))
    x1 = torch.full((5, 1, 1, 3), 0.4)
    monkeypatch.setattr(model, "_noisy", lambda x0, t, g: (x1, x1))
    x0 = torch.linspace(-2, 2, 15).reshape(5, 1, 1, 3)
    last = torch.distributions.Normal(0.4 / (1 - 0.02) ** 0.5, 0.02**0.5)
    expected = -last.log_prob(x0).flatten(1).sum(1)
    torch.testing.assert_close(model._decoder_term(x0, None), expected)


def test_training_loss_is_the_error_of_the_noise(model, monkeypatch):
    monkeypatch.setattr(model, "predict", lambda x_t, t: torch.zeros_like(x_t))
    x = noise(500)
    found = model.training_losses(x, torch.Generator().manual_seed(0)).mean() / model.sizes(x)
    assert found.item() == pytest.approx(1, abs=0.03)  # E eps^2 of 16,000 draws


def test_the_objective_is_the_loss_of_a_loop_over_spectrograms(model):
    """Noise is added to the standardised spectrogram, which is not centred once more."""
    x = noise(3)
    objective = fm.objectives.standard_objective(model, (5,), seed=4)
    eps = objective._noise("t=5/draw=0", (1, 4, 8), x, "normal")
    a = model.scheduler.alphas_cumprod[5]
    z = model.encoder(x)
    predicted = model.unet(a.sqrt() * z + (1 - a).sqrt() * eps, torch.full((3,), 5)).sample
    expected = (eps - predicted).square().flatten(1).sum(1)
    torch.testing.assert_close(objective(x), expected)
    assert objective.spec is None  # a sound is in no range of pictures
    assert objective.settings()["encoder"] == "Standardised"


def test_columns_are_those_of_the_network_alone_and_the_front_end_is_told(model):
    x = noise(20)
    objective = fm.objectives.standard_objective(model, (5,))
    found = fm.extract(objective, x, progress=False)
    assert not [name for name in found.names if "encoder" in name]
    model.encoder.mean += 1
    other = fm.extract(objective, x, progress=False)
    assert other.fingerprint != found.fingerprint


@pytest.mark.parametrize("name", ["MultiscaleLosses", "MSMA", "DiffPath", "SCOPED"])
def test_statistics_of_diffusion_models_see_the_spectrogram(model, name):
    """They are those of a model that gets spectrograms and has no encoder."""
    x = noise(6)
    found = getattr(fm.statistics, name)(fm.objectives.standard_objective(model, (5,)))
    bare = fm.objectives.Denoising(model.unet, model.scheduler, (5,), centred=False)
    expected = getattr(fm.statistics, name)(bare)
    torch.testing.assert_close(found.measure(x), expected.measure(model.encoder(x)))


def test_draws_are_spectrograms_and_no_clips(model, tmp_path, monkeypatch):
    target = torch.full((1, 1, 4, 8), 0.7)
    abar = model.scheduler.alphas_cumprod
    monkeypatch.setattr(model, "predict", best_denoiser(abar, target, 0))
    found = model.sample(2, torch.Generator().manual_seed(0), steps=6)
    expected = 0.7 * model.encoder.deviation + model.encoder.mean
    torch.testing.assert_close(found, expected.expand(2, 1, 4, 8), rtol=1e-4, atol=1e-4)
    objective = fm.objectives.standard_objective(model)
    with pytest.raises(ValueError, match="a Spectrogram draws no sounds such as its data"):
        draw(model, objective, 5, tmp_path)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="clips of 100 values have no whole number of frames"):
        build("spectrogram", "tiny", (100,))
    with pytest.raises(ValueError, match="divisible by 4, got 32x33"):
        build("spectrogram", "small", (33 * 64,))


def test_a_model_of_clips_has_their_rate():
    clips = Samples(noise(4, 512))
    assert build_for("spectrogram", "tiny", clips).config.rate == 8000
    clips.rate = 16000
    model = build_for("spectrogram", "tiny", clips)
    assert model.config.rate == model.encoder.log_mel.rate == 16000
