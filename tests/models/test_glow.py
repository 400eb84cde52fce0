"""The log determinant is the Jacobian's, the inverse inverts, the density integrates to one."""

import math

import pytest
import torch
from torch.autograd.functional import jacobian

from fimetric.models import Glow, build
from fimetric.models.glow import GlowConfig, dequantise

SHAPE = (1, 4, 4)


def perturbed(logit: float = 0.0, shape: tuple[int, int, int] = SHAPE) -> Glow:
    model = build("glow", GlowConfig(steps=2, levels=2, hidden=6, logit=logit), shape).double()
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=g).double()
    return model


def images(n: int, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize("logit", [0.0, 1e-3])
def test_log_det_is_that_of_the_jacobian(logit):
    model, x = perturbed(logit), images(3)

    def flat(v: torch.Tensor) -> torch.Tensor:
        return torch.cat([z.flatten() for z in model.transform(v.reshape(1, *SHAPE))[0]])

    expected = torch.stack([torch.linalg.slogdet(jacobian(flat, v.flatten()))[1] for v in x])
    torch.testing.assert_close(model.transform(x)[1], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("logit", [0.0, 1e-3])
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 8, 4)])
def test_inverse_undoes_the_transform(logit, shape):
    model, x = perturbed(logit, shape), images(4, shape)
    latents = model.transform(x)[0]
    assert [tuple(z.shape[1:]) for z in latents] == model.latent_shapes()
    assert (model.inverse(latents) - x).abs().max() < 1e-10


def test_log_prob_is_the_change_of_variables():
    model, x = perturbed(), images(3)
    latents, log_det = model.transform(x)
    z = torch.cat([latent.flatten(1) for latent in latents], 1)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(model.log_prob(x), base + log_det)


def test_density_integrates_to_one_over_its_own_support():
    # importance sampling from the model at a higher temperature: E[p/q] = 1, on the smallest flow
    model = build("glow", GlowConfig(steps=1, levels=1, hidden=4), (1, 2, 2)).double()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)).double()
    z = 1.3 * torch.randn(20000, 4, 1, 1, generator=torch.Generator().manual_seed(4)).double()
    x = model.inverse([z])
    latents, log_det = model.transform(x)
    log_q = log_det + torch.distributions.Normal(0.0, 1.3).log_prob(latents[0]).flatten(1).sum(1)
    ratio = (model.log_prob(x) - log_q).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / 20000**0.5


def test_initialise_whitens_every_normalisation_and_only_then():
    model, x = build("glow", "tiny", (1, 8, 8)), images(64, (1, 8, 8)).float()
    before = [p.clone() for p in model.parameters()]
    model.log_prob(x)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    model.initialise(x)
    entered = model._enter(dequantise(x, torch.Generator().manual_seed(0)))[0]
    h = torch.nn.functional.pixel_unshuffle(entered, 2)
    out = model.levels[0][0](h)[0]
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)


def test_constant_images_initialise_finitely():
    model, x = build("glow", "tiny", (1, 8, 8)), torch.zeros(16, 1, 8, 8)
    model.initialise(x)
    assert model.training_losses(x, torch.Generator()).isfinite().all()


def test_log_prob_of_a_sample_is_independent_of_its_batch():
    model, x = perturbed(), images(4)
    alone = torch.cat([model.log_prob(v[None]) for v in x])
    torch.testing.assert_close(model.log_prob(x), alone, rtol=1e-12, atol=0)


def test_every_parameter_has_a_gradient():
    model = perturbed()
    model.training_losses(images(3), torch.Generator().manual_seed(0)).sum().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_bits_per_dim_is_minus_log2_of_the_dequantised_density():
    model, x = perturbed(), images(3)
    u = dequantise(x, torch.Generator().manual_seed(5))
    expected = -(model.log_prob(u) / math.log(2) / 16 - 8)
    torch.testing.assert_close(model.bits_per_dim(x, torch.Generator().manual_seed(5)), expected)


def test_dequantised_levels_stay_in_their_bins():
    x = torch.arange(256.0).reshape(256, 1, 1, 1) / 255
    y = dequantise(x, torch.Generator().manual_seed(0))
    assert (y * 256).floor().flatten().tolist() == list(range(256)) and y.max() < 1


def test_paper_configuration_has_the_published_size():
    model = build("glow", "paper", (3, 32, 32))
    # 44.2 M in 1,353 tensors, less the weight that only ever sees zeros
    assert len(list(model.parameters())) == 1352
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(44.2e6, rel=2e-3)


def test_unfit_settings_are_refused():
    with pytest.raises(ValueError, match="divisible by 4, got 6x8"):
        build("glow", "tiny", (1, 6, 8))
    with pytest.raises(ValueError, match="logit"):
        build("glow", {"logit": 0.5}, (1, 32, 32))
