"""Score and curvature against a Gaussian's, and against finite differences of a UNet."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from known_diffusion import MEAN, SHAPE, abar, centred, gaussian, images, noise, precision

from fimetric.noise import fixed_noise
from fimetric.objectives import Denoising
from fimetric.statistics.scoped import SCOPED


@pytest.mark.parametrize("n", [1, 2])  # two samples, two columns
def test_ratio_of_squared_norm_and_probed_trace(n):
    objective = gaussian(seed=5)
    expected = []
    for x in centred(images(n)):
        row = []
        for t in (1, 300):
            a, v = abar(objective, t), np.sign(noise(f"t={t}/probe", 5, "uniform") - 0.5)
            x_t = np.sqrt(a) * x + np.sqrt(1 - a) * noise(f"t={t}/draw=0", 5)
            score = precision(a) @ (x_t - np.sqrt(a) * MEAN.numpy())
            row += [score @ score, v @ precision(a) @ v, score @ score / (v @ precision(a) @ v)]
        expected.append(row)
    statistic = SCOPED(objective, parts=True)
    assert statistic.names == [
        f"t={t}/{column}" for t in (1, 300) for column in ("squared_norm", "trace", "ratio")
    ]
    found = statistic.measure(images(n)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    plain = SCOPED(objective)
    assert plain.names == ["t=1/ratio", "t=300/ratio"]
    np.testing.assert_allclose(plain.measure(images(n)).detach(), found[:, [2, 5]], rtol=1e-12)


def test_the_trace_of_a_diagonal_jacobian_is_exact():
    variances = torch.tensor([0.1, 0.4, 0.9, 2.0]).double()
    objective = gaussian(covariance=torch.diag(variances))
    for t in (0, 200, 999):
        a = abar(objective, t)
        found = SCOPED(objective, (t,), parts=True).measure(images())[:, 1].detach()
        expected = (1 / (a * variances + 1 - a)).sum().expand(5)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_typical_samples_have_a_ratio_of_one():
    """Over data and probes the mean is that of a chi-square: 1, to 5 standard errors."""
    d, n = SHAPE[1] * SHAPE[2], 20_000
    objective = gaussian(mean=0 * MEAN, covariance=torch.eye(d).double(), centred=False)
    t = 10  # little of the one fixed noise
    x = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    ratio = SCOPED(objective, (t,)).measure(x).detach()
    assert abs(float(ratio.mean()) - 1) < 5 * np.sqrt(2 / d / n) + 2 * (1 - abar(objective, t))
    assert float(SCOPED(objective, (t,)).measure(3 * x).mean()) > 5


@pytest.fixture
def unet() -> UNet2DModel:
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        attention_head_dim=8,
    ).double()


@pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
def test_a_unet_with_attention_against_finite_differences(unet, predicts):
    objective = Denoising(unet, DDPMScheduler(prediction_type=predicts), seed=2)
    x = torch.rand(2, 1, 8, 8).double()
    t, h = 300, 1e-4
    a = objective.scheduler.alphas_cumprod[t].double()
    eps = fixed_noise(2, f"t={t}/draw=0", x.shape[1:], x, "normal")
    v = (fixed_noise(2, f"t={t}/probe", x.shape[1:], x, "uniform") - 0.5).sign()
    x_t = a.sqrt() * (2 * x - 1) + (1 - a).sqrt() * eps

    def score(y):
        found = unet(y, torch.full((2,), t)).sample
        x_0 = {
            "epsilon": lambda: (y - (1 - a).sqrt() * found) / a.sqrt(),
            "sample": lambda: found,
            "v_prediction": lambda: a.sqrt() * y - (1 - a).sqrt() * found,
        }[predicts]()
        return (y - a.sqrt() * x_0) / (1 - a)

    with torch.no_grad():
        slope = (score(x_t + h * v) - score(x_t - h * v)) / (2 * h)
        norm, trace = score(x_t).square().sum((1, 2, 3)), (v * slope).sum((1, 2, 3))
        found = SCOPED(objective, (t,), parts=True).measure(x)
    # second-order differences: h^2 and rounding / h are both about 1e-8
    torch.testing.assert_close(
        found, torch.stack([norm, trace, norm / trace], 1), rtol=1e-6, atol=0
    )


def test_no_gradient_leaks(unet):
    objective = Denoising(unet, DDPMScheduler())
    x = torch.rand(2, 1, 8, 8).double()
    with torch.no_grad():
        found = SCOPED(objective).measure(x)
    assert not found.requires_grad and not x.requires_grad
    assert all(p.grad is None and p.requires_grad for p in unet.parameters())
    unet.requires_grad_(False)
    with torch.no_grad():
        torch.testing.assert_close(SCOPED(objective).measure(x), found, rtol=1e-12, atol=0)


@pytest.mark.parametrize("length", [1000, 100, 2])
def test_default_timesteps(length):
    expected = {1000: (1, 300), 100: (0, 30), 2: (0,)}[length]
    assert SCOPED(gaussian(length=length)).timesteps == expected


@pytest.mark.parametrize("timesteps", [(), (1000,), (4, 4)])
def test_settings_that_make_no_sense(timesteps):
    with pytest.raises(ValueError, match="timesteps of SCOPED must be different indices"):
        SCOPED(gaussian(), timesteps)
