"""The loss, the bound and the samples of a rectified flow, against cases with a known answer."""

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tests.models.examples import example
from tests.models.single_samples import assert_norms_are_those_of_single_samples

import fimetric as fm
from fimetric.benchmark.kinds import TABLES, Source
from fimetric.benchmark.methods import METHODS
from fimetric.claims.study import Study
from fimetric.claims.timesteps import timesteps
from fimetric.data.batch import Batch
from fimetric.models import FAMILIES, build, load, save
from fimetric.models.family import DENOISER
from fimetric.models.flow_matching import FIRST, RectifiedFlow, RectifiedFlowConfig
from fimetric.noise import drawn, fixed_noise

SHAPE = (1, 8, 8)
SMALL = RectifiedFlowConfig(channels=(8, 8), groups=2, attention=False, timesteps=20)
MEAN, STD = -0.1, 0.3  # of every dimension of data in [-1, 1]


@pytest.fixture
def model() -> RectifiedFlow:
    return build("flow-matching", SMALL, SHAPE).eval()


def levels(n: int) -> torch.Tensor:
    return torch.randint(256, (n, *SHAPE), generator=torch.Generator().manual_seed(0)) / 255


def best(x_s: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Return E[eps - x | x_s] where every dimension is N(MEAN, STD^2)."""
    s = s.reshape(-1, 1, 1, 1)
    variance = ((1 - s) * STD) ** 2 + s**2
    return (s - (1 - s) * STD**2) / variance * (x_s - (1 - s) * MEAN) - MEAN


def nothing(x_s: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x_s)


def gaussian(n: int) -> torch.Tensor:
    """Return 8-bit draws (n, *SHAPE) of N(MEAN, STD^2)."""
    g = torch.Generator().manual_seed(0)
    x = (MEAN + STD * torch.randn(n, *SHAPE, generator=g).double()).clamp(-1, 1)
    return ((x + 1) * 127.5).round() / 255


def test_bound_is_the_code_length_of_each_sample_under_the_best_velocity(model, monkeypatch):
    """In continuous time the reverse process of Gaussian data is exact, and so is the bound."""
    monkeypatch.setattr(model.double(), "velocity", best)
    x = gaussian(4000)
    density = torch.distributions.Normal(MEAN, STD).log_prob(2 * x - 1) + math.log(2 / 255)
    expected = -density.flatten(1).mean(1) / math.log(2)
    difference = model.bits_per_dim(x, torch.Generator().manual_seed(1)) - expected
    error = difference.std() / math.sqrt(len(x))
    assert abs(difference.mean()) < 4 * error
    assert error < 0.005  # of some 7 bits
    # and not only on average: what is left of a sample is noise, whether it is likely or not
    likely = expected < expected.median()
    for part in (difference[likely], difference[~likely]):
        assert abs(part.mean()) < 4 * part.std() / math.sqrt(len(part))


def test_integral_is_half_the_log_of_the_signal(model, monkeypatch):
    """I-MMSE: 2 int (1 - s) E|u - v|^2 dlog s = log(1 + STD^2 SNR) for Gaussian data."""
    monkeypatch.setattr(model.double(), "velocity", best)
    monkeypatch.setattr(model, "_decoder_term", lambda x, g: x.new_zeros(len(x)))
    found = model.bits_per_dim(gaussian(4000), torch.Generator().manual_seed(1)) * math.log(2)
    expected = 0.5 * math.log(1 + (STD * (1 - FIRST) / FIRST) ** 2)
    assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(len(found))


def test_bound_of_another_velocity_is_longer_by_what_it_is_wrong(model, monkeypatch):
    """A velocity that is off by c everywhere costs c^2 int (1 - s) dlog s, and at the decoder."""
    model, c, x = model.double(), 0.5, gaussian(4000)
    monkeypatch.setattr(model, "_decoder_term", lambda x, g: x.new_zeros(len(x)))
    found = []
    for shift in (0, c):
        monkeypatch.setattr(model, "velocity", lambda x_s, s, shift=shift: best(x_s, s) + shift)
        found.append(model.bits_per_dim(x, torch.Generator().manual_seed(1)) * math.log(2))
    difference = found[1] - found[0]
    expected = c**2 * (-math.log(FIRST) - (1 - FIRST))
    assert abs(difference.mean() - expected) < 4 * difference.std() / math.sqrt(len(x))


def test_few_levels_leave_the_bound_unbiased(model):
    x = levels(1).expand(200, *SHAPE)
    with torch.no_grad():
        many = model.bits_per_dim(x, torch.Generator().manual_seed(0), levels=12)
        few = model.bits_per_dim(x, torch.Generator().manual_seed(1), levels=2)
    error = ((many.var() + few.var()) / len(x)).sqrt()
    assert abs(many.mean() - few.mean()) < 4 * error < 0.8 * many.mean()
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        model.bits_per_dim(x, None, levels=0)


def test_last_term_is_a_distribution_over_the_levels(model, monkeypatch):
    """The velocity of one noisy image is known, and so is the denoised image: it is the same."""
    noisy = torch.full((256, 1, 1, 1), 0.983)
    x = 2 * torch.arange(256.0).reshape(256, 1, 1, 1) / 255 - 1
    monkeypatch.setattr(model, "_errors", lambda x, s, g: (noisy - x) / FIRST)
    log_p = -model._decoder_term(x, None)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    normal = torch.distributions.Normal(0.983, FIRST / (1 - FIRST))
    expected = normal.cdf(x + 1 / 255) - normal.cdf(x - 1 / 255)
    # float32 cancels in the tails of the expected ones
    torch.testing.assert_close(log_p.exp()[:-1], expected.flatten()[:-1], rtol=1e-3, atol=1e-6)


def test_training_loss_is_the_error_of_the_velocity(model, monkeypatch):
    x, told = levels(50), []

    def noting(noisy, t):
        told.append((noisy, t))
        return unet(noisy, t)

    unet = model.unet.forward
    monkeypatch.setattr(model.unet, "forward", noting)
    found = model.training_losses(x, torch.Generator().manual_seed(3))
    [(noisy, t)] = told
    generator = torch.Generator().manual_seed(3)
    drawn("uniform", (), generator)
    eps, s = drawn("normal", x.shape, generator), (t / 20).reshape(-1, 1, 1, 1)
    data = 2 * x - 1
    torch.testing.assert_close(noisy, (1 - s) * data + s * eps)
    velocity = unet(noisy, t).sample
    torch.testing.assert_close(found, (eps - data - velocity).square().sum((1, 2, 3)))


def test_levels_of_training_are_evenly_spaced_and_uniform(model, monkeypatch):
    told = []
    monkeypatch.setattr(model, "velocity", lambda x, s: told.append(s) or torch.zeros_like(x))
    generator = torch.Generator().manual_seed(0)
    for n in (1, 7) * 200:
        model.training_losses(levels(n), generator)
    assert all(s.min() > 0 and s.max() <= 1 for s in told)
    for s in told[1::2]:
        gaps = s.sort().values.diff()
        assert (gaps - 1 / 7).abs().max() < 1e-6
    for i in range(7):  # wherever a sample stands in its batch
        alone = torch.stack([s[i] for s in told[1::2]])
        assert alone.mean().item() == pytest.approx(0.5, abs=4 / math.sqrt(12 * 200))
        assert alone.var().item() == pytest.approx(1 / 12, rel=0.3)


def test_no_samples_have_no_losses(model):
    x = torch.zeros(0, *SHAPE)
    assert model.training_losses(x, None).shape == model.bits_per_dim(x, None).shape == (0,)


@pytest.mark.parametrize("t", [0, 7, 19])
def test_objective_is_the_regression_of_this_model(model, t):
    x = levels(4)
    found = fm.objectives.standard_objective(model, (t,), seed=5)(x)
    eps, sigma = fixed_noise(5, f"t={t}/draw=0", SHAPE, x, "normal"), (t + 1) / 20
    data = 2 * x - 1
    noisy = (1 - sigma) * data + sigma * eps
    velocity = model.unet(noisy, torch.full((4,), t + 1.0)).sample
    torch.testing.assert_close(found, (eps - data - velocity).square().sum((1, 2, 3)))
    # and it is the loss of training at that level
    alone = model._errors(data, torch.full((4,), sigma), None)
    assert alone.shape == data.shape
    torch.testing.assert_close(model.velocity(noisy, torch.full((4,), sigma)), velocity)


def test_norms_are_those_of_single_samples(model, caplog):
    model = model.double()
    x = levels(5).double()
    objective = fm.objectives.standard_objective(model, (3,))
    # some biases in front of a normalisation are zero
    assert_norms_are_those_of_single_samples(objective, objective, x, caplog, rtol=1e-8, atol=1e-16)


def test_timesteps_are_in_proportion_and_the_first_alone_unless_asked(model):
    assert fm.objectives.several_timesteps(model) == (0, 1, 6)
    assert fm.objectives.standard_objective(model).timesteps == (0,)
    paper = build("flow-matching", "paper", (3, 32, 32))
    assert fm.objectives.several_timesteps(paper) == (0, 50, 300)
    assert paper.unet.config.block_out_channels == (32, 64, 128, 256)


def test_euler_with_the_best_velocity_of_one_image_finds_it(model, monkeypatch):
    target = 2 * levels(1) - 1
    monkeypatch.setattr(model, "velocity", lambda x, s: (x - target) / s.reshape(-1, 1, 1, 1))
    found = model.sample(2, torch.Generator().manual_seed(0), steps=6)
    # one level: the target is divided by 127.5 and rounded in float32
    assert (found - levels(1)).abs().max() < 0.5 / 255


def test_samples_are_those_of_the_scheduler_of_diffusers(model):
    with torch.no_grad():
        for p in model.unet.conv_out.parameters():
            p *= 5
    found = model.sample(2, torch.Generator().manual_seed(4), steps=20)
    scheduler = FlowMatchEulerDiscreteScheduler(20)
    scheduler.set_timesteps(20)
    x = drawn("normal", (2, *SHAPE), torch.Generator().manual_seed(4))
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(model.unet(x, t.expand(2)).sample, t, x).prev_sample
    expected = ((x.clamp(-1, 1) + 1) * 127.5).round() / 255
    assert (found - expected).abs().max() < 1.5 / 255  # rounded to the grid


def test_samples_of_gaussian_data_have_their_moments(model, monkeypatch):
    monkeypatch.setattr(model, "velocity", best)
    x = 2 * model.sample(2000, torch.Generator().manual_seed(0), steps=200) - 1
    assert x.mean().item() == pytest.approx(MEAN, abs=0.005)
    assert x.std().item() == pytest.approx(STD, rel=0.02)


def source(model) -> Source:
    objective = fm.objectives.standard_objective(model)
    reference = example("flow-matching", 8)
    return Source(model, (objective,) * 3, lambda: reference, 0, lambda: reference)


def test_methods_of_predicted_noise_are_not_for_it_and_refuse_it(model):
    row, has = FAMILIES["flow-matching"], source(model)
    for method in METHODS.values():
        table = TABLES[method.table_of(row)]
        if method.fits(row):
            table.make(has)
        elif DENOISER in method.needs:
            with pytest.raises(TypeError, match=r"needs fm\.objectives\.Denoising, not Flow"):
                table.make(has)
    fitting = {name for name, method in METHODS.items() if method.fits(row)}
    assert {"fimetric", "typicality-by-timestep", "neighbours-one-timestep"} <= fitting
    table = METHODS["fimetric"].table_of(row)
    found = TABLES[table].extractor(has)(Batch(levels(3), ["a", "b", "c"]))
    assert found.views == tuple(f"t={t}/draw=0" for t in (0, 1, 6))


def test_claims_about_predicted_noise_are_not_about_it(model, tmp_path):
    own, foreign = example("flow-matching", 4), example("flow-matching", 4, 1)
    study = Study(source(model).objective, own, {"foreign": foreign}, None, tmp_path)
    assert timesteps(study, tmp_path) is None


def test_a_model_opens_with_several_timesteps(model, tmp_path):
    save(model, tmp_path / "m", half=True)
    found = fm.objectives.from_pretrained(tmp_path / "m")
    assert found.kind == "flow matching loss" and found.timesteps == (0, 1, 6)
    assert type(load(tmp_path / "m")) is RectifiedFlow


def test_unfit_settings_are_refused():
    with pytest.raises(ValueError, match="divisible by 4, got 6x8"):
        build("flow-matching", "small", (1, 6, 8))
    with pytest.raises(ValueError, match="timesteps must be from 1"):
        build("flow-matching", {"timesteps": 0}, SHAPE)
