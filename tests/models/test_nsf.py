"""The density is one, in the units of the columns, and does not learn their grid."""

import math
import subprocess
import sys

import pytest
import torch
from tests.gradients.against_loop import assert_equals_the_loop
from torch.autograd.functional import jacobian

from fimetric.data import Samples
from fimetric.models import NSF, build, load, save
from fimetric.models.nsf import NSFConfig
from fimetric.training import train

SMALL = NSFConfig(transforms=2, layers=2, hidden=8, bins=3)


def rows(n: int, columns: int = 3) -> torch.Tensor:
    """Return correlated rows of columns in different units."""
    z = torch.randn(n, columns, generator=torch.Generator().manual_seed(2)).double()
    z[:, 1:] += z[:, :-1].clone()
    return 5.0 + z * 10.0 ** torch.arange(columns)


def perturbed(columns: int = 3, config: NSFConfig = SMALL) -> NSF:
    """Return a flow whose splines bend, which knows the columns of ``rows``."""
    model = build("nsf", config, (columns,)).double().eval()
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.5 * torch.randn(p.shape, generator=g).double()
    model.initialise(rows(50, columns))
    return model


@pytest.mark.parametrize("columns", [1, 3])
def test_log_det_is_that_of_the_jacobian(columns):
    model, x = perturbed(columns), rows(4, columns)
    expected = [
        torch.linalg.slogdet(jacobian(lambda v: model.transform(v[None])[0][0], row))[1]
        for row in x
    ]
    latents, log_det = model.transform(x)
    assert [latents.shape[1:]] == model.latent_shapes()
    torch.testing.assert_close(log_det, torch.stack(expected), rtol=1e-10, atol=1e-10)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(latents).sum(1)
    torch.testing.assert_close(model.log_prob(x), normal + log_det)


@pytest.mark.parametrize("columns", [1, 3])
def test_inverse_undoes_the_transform(columns):
    model, x = perturbed(columns), rows(6, columns)
    found = model.inverse(model.transform(x)[0])
    torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-9)


def test_the_density_integrates_to_one_in_the_units_of_the_columns():
    model = perturbed(2)
    sides = [
        torch.linspace(-12, 12, 801).double() * s + m
        for s, m in zip(model.deviation, model.mean, strict=True)
    ]
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(*sides)).exp()
    area = math.prod(side[1] - side[0] for side in sides)
    assert (density.sum() * area).item() == pytest.approx(1, abs=5e-3)  # splines have corners


def test_a_column_in_other_units_changes_the_density_by_them():
    model, x = perturbed(), rows(50)
    before = model.log_prob(x)
    units = torch.tensor([1.0, 1000.0, 1.0]).double()
    model.initialise(x * units)
    torch.testing.assert_close(model.log_prob(x * units), before - math.log(1000))


def test_all_training_rows_set_mean_deviation_and_step():
    x = torch.tensor([[1.0, 7.0, 0.25], [3.0, 7.0, 0.5], [2.0, 7.0, 4.0], [1.0, 7.0, 0.25]])
    model = build("nsf", SMALL, (3,))
    model.initialise(x)
    assert torch.equal(model.mean, x.mean(0))
    assert model.deviation.tolist() == pytest.approx([11**0.5 / 4, 1.0, 2.53125**0.5], rel=1e-6)
    assert model.step.tolist() == [1.0, 0.0, 0.25]


@pytest.mark.parametrize("x", [torch.full((9, 3), 1e6), torch.zeros(5, 3), torch.ones(1, 3)])
def test_columns_without_spread_divide_by_one(x):
    model = build("nsf", SMALL, (3,))
    model.initialise(x)
    assert torch.equal(model.deviation, torch.ones(3))
    for each in (x, x + 50):
        assert model.log_prob(each).isfinite().all()
    assert model.training_losses(x, torch.Generator()).isfinite().all()


def test_training_noise_is_a_step_wide_and_smooths_beside_it():
    model, x = perturbed(config=NSFConfig(2, 2, 8, 3, noise=0.0)), rows(5)
    model.step.copy_(torch.tensor([0.5, 20.0, 0.0]))
    uniform = torch.rand(5, 3, generator=torch.Generator().manual_seed(3)).double()
    expected = -model.log_prob(x + model.step * (uniform - 0.5))
    found = model.training_losses(x, torch.Generator().manual_seed(3))
    torch.testing.assert_close(found, expected)
    smooth = perturbed(config=NSFConfig(2, 2, 8, 3, noise=0.3))
    assert not torch.isclose(smooth.training_losses(x, torch.Generator()), -model.log_prob(x)).any()


def test_bits_per_dim_are_of_the_rows_as_they_are():
    model, x = perturbed(), rows(5)
    expected = -model.log_prob(x) / (3 * math.log(2))
    torch.testing.assert_close(model.bits_per_dim(x, None), expected)


def test_probabilities_of_levels_do_not_exceed_one(tmp_path):
    # without noise of a step the density of so many equal values has no bound
    x = torch.randint(3, (200, 2), generator=torch.Generator().manual_seed(0)).float()
    model = build("nsf", NSFConfig(1, 1, 16, 8, noise=0.0), (2,))
    train(model, Samples(x), tmp_path / "m", steps=300, lr=1e-2, progress=False)
    levels = torch.cartesian_prod(*[torch.arange(3.0)] * 2)
    with torch.no_grad():
        total = model.log_prob(levels).exp().sum().item()  # steps are 1
    assert total == pytest.approx(1, abs=0.15)


def test_gradient_norms_are_those_of_a_loop():
    for model in (perturbed(), perturbed(1)):
        batches = [rows(n, model.shape[0]) for n in (1, 3, 8)]  # 3 columns, 8 hidden units
        batches.append(torch.zeros(2, model.shape[0]).double())
        assert_equals_the_loop(model, lambda x, model=model: -model.log_prob(x), batches)


def test_log_prob_of_a_row_is_independent_of_its_batch():
    model, x = perturbed(), rows(7)
    alone = torch.cat([model.log_prob(row[None]) for row in x])
    torch.testing.assert_close(model.log_prob(x), alone, rtol=1e-12, atol=1e-12)


def test_half_precision_keeps_what_standardises(tmp_path):
    model = build("nsf", SMALL, (3,))
    x = torch.tensor([2e6, 1990.0, 0.0]) + torch.randn(40, 3, generator=torch.Generator())
    model.initialise(x)
    save(model, tmp_path / "half", half=True)
    found = load(tmp_path / "half")
    for name in ("mean", "deviation", "step"):
        assert torch.equal(getattr(found, name), getattr(model, name))
    torch.testing.assert_close(found.log_prob(x), model.log_prob(x), rtol=1e-2, atol=1e-2)


def test_sizes_that_are_none_or_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"noise must not be negative, got -0\.1"):
        build("nsf", NSFConfig(noise=-0.1), (3,))
    with pytest.raises(ValueError, match="weights for 1000000 columns; at most 100,000,000"):
        build("nsf", "small", (1_000_000,))


def test_zuko_is_imported_where_a_flow_is_made_and_asked_for_by_name(monkeypatch):
    code = "import fimetric, sys; assert 'zuko' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ImportError, match=r"pip install 'fimetric\[tables\]'"):
        build("nsf", "tiny", (3,))
