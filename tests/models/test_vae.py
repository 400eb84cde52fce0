"""The bound is one sample's own, and bounds the log probability of its levels."""

import math

import pytest
import torch

from fimetric.models import VAE, build
from fimetric.models.discretised import discretised_logistic
from fimetric.models.vae import VAEConfig

SHAPE = (1, 8, 8)


@pytest.fixture
def vae() -> VAE:
    model = build("vae", VAEConfig(channels=(4, 6), latent=3), SHAPE).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double()
    return model


def test_elbo_of_a_sample_is_independent_of_its_batch(vae):
    x = torch.rand(5, *SHAPE).double()
    noise = torch.randn(5, *vae.latent_shape).double()
    alone = torch.cat([vae.elbo(x[i : i + 1], noise[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(vae.elbo(x, noise), alone, rtol=1e-12, atol=0)


def test_elbo_bounds_the_log_probability_found_by_importance_sampling(vae):
    g = torch.Generator().manual_seed(0)
    x = (torch.rand(1, *SHAPE, generator=g) * 255).round().double() / 255
    noise = torch.randn(4000, *vae.latent_shape, generator=g).double()
    many = x.expand(4000, *SHAPE)
    mean, log_std = vae.encode(many)
    z = mean + log_std.exp() * noise
    location, log_scale = vae.decode(z)
    log_joint = discretised_logistic(many, location, log_scale).flatten(1).sum(1)
    log_joint = log_joint - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    log_q = (-0.5 * (noise.square() + math.log(2 * math.pi)) - log_std).sum(1)
    log_p = torch.logsumexp(log_joint - log_q, 0) - math.log(4000)
    bound = vae.elbo(many, noise)
    # the two forms of the bound agree in the mean, and lie below
    standard_error = (log_joint - log_q).std() / 4000**0.5
    assert abs(bound.mean() - (log_joint - log_q).mean()) < 5 * standard_error
    assert bound.mean() < log_p


def test_noise_scale_is_bounded(vae):
    with torch.no_grad():
        vae.log_scale.fill_(-1e6)
    assert vae.elbo(torch.rand(2, *SHAPE).double(), torch.zeros(2, 3).double()).isfinite().all()


def test_gaussian_code_length_counts_all_levels():
    model = build("vae", VAEConfig((4,), 2, "gaussian"), (1, 2, 2)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()  # location 1/2 everywhere, and q equal to the prior: the bound is exact
    levels = torch.arange(256.0)[:, None, None, None].expand(256, 1, 2, 2) / 255
    bits = model.bits_per_dim(levels, torch.Generator())
    assert (2.0**-bits).sum().item() == pytest.approx(1, abs=1e-4)  # float32 input


def test_gaussian_elbo_is_the_squared_error():
    model = build("vae", VAEConfig((4,), 2, "gaussian"), (1, 2, 2)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    found = model.elbo(torch.ones(1, 1, 2, 2), torch.zeros(1, 2)).item()
    assert found == pytest.approx(-4 * (0.125 + 0.5 * math.log(2 * math.pi)), rel=1e-6)


def test_samples_without_pixel_noise_are_the_location(vae):
    x = vae.sample(3, torch.Generator().manual_seed(0), pixel_noise=False)
    z = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(x, vae.decode(z)[0].clamp(0, 1))


def test_unfit_shapes_and_likelihoods_are_refused():
    with pytest.raises(ValueError, match="divisible by 8, got 28x28"):
        build("vae", {"channels": (4, 4, 4)}, (1, 28, 28))
    with pytest.raises(ValueError, match=r"value 'cauchy' - at `\$.likelihood`"):
        build("vae", {"likelihood": "cauchy"}, (1, 32, 32))
