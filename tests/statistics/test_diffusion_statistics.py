"""What all statistics of a diffusion model keep."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from known_diffusion import Gaussian, gaussian, images
from torch import nn

from fimetric.objectives import Denoising, Objective
from fimetric.statistics.diffpath import DiffPath
from fimetric.statistics.msma import MSMA
from fimetric.statistics.multiscale_losses import MultiscaleLosses
from fimetric.statistics.reconstruction import Reconstruction
from fimetric.statistics.scoped import SCOPED

ALL = [MultiscaleLosses, MSMA, DiffPath, SCOPED, Reconstruction]
FORWARDS = {MultiscaleLosses: 10, MSMA: 10, DiffPath: 10, SCOPED: 2, Reconstruction: 25}
NOISY = (MultiscaleLosses, SCOPED, Reconstruction)
every = pytest.mark.parametrize("statistic", ALL)


@every
def test_a_table_of_named_columns_and_its_cost(statistic):
    objective = gaussian(timesteps=(7,))
    made = statistic(objective)
    with torch.no_grad():
        expected = made.measure(images())
        assert objective.module.calls == FORWARDS[statistic]
    assert expected.shape == (5, len(made.names)) and not expected.requires_grad
    assert len(set(made.names)) == len(made.names)
    table = made.features(images(), batch_size=2, progress=False)
    assert list(table.names) == made.names and list(table.views) == ["t=7/draw=0"]
    np.testing.assert_allclose(table.values, expected, rtol=1e-12)
    assert all(p.grad is None for p in objective.module.parameters())


@every
def test_a_sample_is_measured_alone_and_in_any_order(statistic):
    made, x, order = statistic(gaussian()), images(7), torch.randperm(7)
    found = made.measure(x)
    for i in range(7):
        torch.testing.assert_close(made.measure(x[i : i + 1])[0], found[i], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(made.measure(x[order]), found[order], rtol=1e-10, atol=1e-12)
    assert torch.unique(found.detach(), dim=0).shape == found.shape  # samples do differ


@every
def test_as_many_samples_as_columns(statistic):
    made = statistic(gaussian())
    n = len(made.names)
    found = made.measure(images(n + 1))
    assert found.shape == (n + 1, n)
    torch.testing.assert_close(made.measure(images(n + 1)[:n]), found[:n], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("statistic", [MSMA, DiffPath, SCOPED, Reconstruction])
@pytest.mark.parametrize("predicts", ["sample", "v_prediction"])
def test_what_the_model_predicts_makes_no_difference(statistic, predicts):
    found = statistic(gaussian(predicts)).measure(images())
    torch.testing.assert_close(found, statistic(gaussian()).measure(images()), rtol=1e-7, atol=1e-9)


@every
def test_a_seed_changes_what_uses_noise_and_nothing_else(statistic):
    one, other = (statistic(gaussian(seed=seed)).measure(images()) for seed in (0, 1))
    assert torch.allclose(one, other) == (statistic not in NOISY)


@every
def test_own_noise_is_that_of_the_objective(statistic):
    objective = gaussian()
    fixed, own = statistic(objective), statistic(objective.with_own_noise())
    same = torch.allclose(fixed.measure(images()), own.measure(images()))
    assert same == (statistic not in NOISY)
    assert fixed.describe() != own.describe()


@every
def test_data_that_are_centred_already(statistic):
    timesteps = {} if statistic is DiffPath else {"timesteps": (3, 300)}
    found = statistic(gaussian(centred=False), **timesteps).measure(2 * images() - 1)
    expected = statistic(gaussian(), **timesteps).measure(images())
    if statistic is Reconstruction:  # whose range is not known
        assert (found >= expected - 1e-9).all()
    else:
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@every
def test_other_number_formats_are_brought_to_the_models(statistic):
    made, x = statistic(gaussian()), images().float()
    torch.testing.assert_close(made.measure(x), made.measure(x.double()), rtol=0, atol=0)


@every
def test_timesteps_may_be_an_array(statistic):
    if statistic is DiffPath:
        pytest.skip("takes a number of steps")
    made = statistic(gaussian(), np.array([0, 9]))
    assert made.timesteps == (0, 9)
    assert made.describe() == statistic(gaussian(), (0, 9)).describe()


@every
def test_the_description_changes_with_the_settings(statistic):
    other = {
        MultiscaleLosses: {"draws": 2},
        MSMA: {"levels": 3},
        DiffPath: {"steps": 3},
        SCOPED: {"parts": True},
        Reconstruction: {"steps": 3},
    }[statistic]
    scheduler = DDPMScheduler(beta_end=0.03)
    made = [
        statistic(gaussian()),
        statistic(gaussian(), **other),
        statistic(Denoising(Gaussian(scheduler), scheduler)),
    ]
    assert len({m.describe() for m in made}) == len(made)
    assert made[0].describe() == statistic(gaussian()).describe()
    assert made[0].describe().startswith(f"{statistic.name}(timesteps=[")


@every
def test_classes_reach_the_model(statistic):
    class Conditional(Gaussian):
        def forward(self, x, t, labels):
            return super().forward(x, t) * (1 + labels.view(-1, 1, 1, 1))

    scheduler = DDPMScheduler()
    made = statistic(Denoising(Conditional(scheduler), scheduler))
    labels = torch.tensor([0, 1, 0, 2, 0]).double()
    found = made.measure({"x": images(), "labels": labels})
    expected = statistic(gaussian()).measure(images())
    same = torch.isclose(found, expected, rtol=1e-10).all(1)
    assert same.tolist() == [True, False, True, False, True]


@every
def test_training_mode_is_refused(statistic):
    class Dropping(Gaussian):
        def __init__(self, scheduler):
            super().__init__(scheduler)
            self.drop = nn.Dropout(0.5)

    scheduler = DDPMScheduler()
    objective = Denoising(Dropping(scheduler), scheduler)
    with pytest.raises(RuntimeError, match=r"drop \(Dropout\) is in training mode"):
        statistic(objective).measure(images())
    objective.module.eval()
    statistic(objective).measure(images())


@every
def test_another_objective_is_refused(statistic):
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"needs fm.objectives.Denoising, not Objective"):
        statistic(Objective(lambda x: model(x).sum(1), model))


@every
def test_a_level_without_noise_is_refused(statistic):
    abar = torch.tensor([1.0, 0.5])
    objective = Denoising(nn.Identity(), SimpleNamespace(alphas_cumprod=abar))
    settings = {"steps": 2} if statistic is DiffPath else {"timesteps": (0,)}
    with pytest.raises(ValueError, match="timestep 0 has no noise: alphas_cumprod is 1 there"):
        statistic(objective, **settings)


@pytest.mark.parametrize("statistic", [DiffPath, Reconstruction])
def test_a_level_without_signal_is_refused(statistic):
    abar = torch.tensor([0.5, 0.0])
    objective = Denoising(nn.Identity(), SimpleNamespace(alphas_cumprod=abar))
    settings = {"steps": 2} if statistic is DiffPath else {"timesteps": (1,)}
    with pytest.raises(ValueError, match="timestep 1 has no signal: alphas_cumprod is 0 there"):
        statistic(objective, **settings)


@every
def test_a_unet_of_diffusers_in_float32(statistic):
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        attention_head_dim=8,
    )
    objective = Denoising(unet, DDPMScheduler())
    table = statistic(objective).features(torch.rand(5, 3, 8, 8), batch_size=3, progress=False)
    assert np.isfinite(table.values).all()
    assert (table.values.std(0) > 0).all()
