"""The parts of a likelihood, against distributions whose likelihood is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from fimetric.detectors import KDE
from fimetric.models import build
from fimetric.noise import fixed_noise
from fimetric.objectives import NegativeELBO, NegativeLogLikelihood, standard_objective
from fimetric.statistics.dose import DoseStatistics

EXACT = {"rtol": 1e-10, "atol": 1e-10}  # float64 sums in another order
SHAPE = (1, 8, 8)


def moved(model):
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double()
    return model


def images(n):
    g = torch.Generator().manual_seed(0)
    return (255 * torch.rand(n, *SHAPE, generator=g)).round().double() / 255


def columns(statistic, x):
    return dict(zip(statistic.names, statistic.measure(x).detach().T, strict=True))


class Affine(nn.Module):
    """x = mean + std z, in three dimensions."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]).double())
        self.log_std = nn.Parameter(torch.tensor([0.1, -0.7, 0.3], dtype=torch.float64))

    def transform(self, x):
        log_det = -self.log_std.sum().expand(len(x))
        return (x - self.mean) / self.log_std.exp(), log_det

    def log_prob(self, x):
        return Normal(self.mean, self.log_std.exp()).log_prob(x).sum(1)


def test_parts_of_a_flow():
    model = Affine()
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
    found = columns(DoseStatistics(NegativeLogLikelihood(model)), x)
    z = (x - model.mean) / model.log_std.exp()
    torch.testing.assert_close(found["log_p_x"], model.log_prob(x).detach(), **EXACT)
    torch.testing.assert_close(found["log_p_z"], Normal(0, 1).log_prob(z).sum(1).detach(), **EXACT)
    torch.testing.assert_close(
        found["log_det"], torch.full((6,), 0.3, dtype=torch.float64), **EXACT
    )


def test_parts_of_a_glow_add_up_to_its_loss():
    objective = NegativeLogLikelihood(
        moved(build("glow", "tiny", SHAPE).double().eval()), levels=256
    )
    x = images(5)
    found = columns(DoseStatistics(objective), x)
    loss = 64 * math.log(256) - found["log_p_x"]
    torch.testing.assert_close(loss, objective(x).detach(), **EXACT)
    torch.testing.assert_close(found["log_p_x"], found["log_p_z"] + found["log_det"], **EXACT)
    z, _ = objective.module.transform(objective.dequantised(x))
    z = torch.cat([level.flatten(1) for level in z], 1)
    expected = Normal(0.0, 1.0).log_prob(z).sum(1).detach()
    torch.testing.assert_close(found["log_p_z"], expected, **EXACT)


def test_parts_of_an_autoencoder():
    vae, x = moved(build("vae", "tiny", SHAPE).double().eval()), images(4)
    objective = NegativeELBO(vae, draws=3, seed=5)
    statistic = DoseStatistics(objective, draws=3)
    found = columns(statistic, x)
    mean, log_std = vae.encode(x)
    q, p = Normal(mean, log_std.exp()), Normal(torch.zeros_like(mean), 1.0)
    likelihoods, weights = [], []
    for k in range(3):
        noise = fixed_noise(5, f"draw={k}", vae.latent_shape, x, "normal")
        z = mean + log_std.exp() * noise
        # of the bound: log p(x|z) = ELBO + KL
        likelihoods.append(vae.elbo(x, noise) + kl_divergence(q, p).sum(1))
        weights.append(likelihoods[-1] + (p.log_prob(z) - q.log_prob(z)).sum(1))
    expected = {
        "cross_entropy": kl_divergence(q, p).sum(1) + q.entropy().sum(1),
        "entropy": q.entropy().sum(1),
        "rate": kl_divergence(q, p).sum(1),
        "log_likelihood": sum(likelihoods) / 3,
        "iwae": torch.stack(weights).exp().mean(0).log(),
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach(), rtol=1e-8, atol=1e-8)
    # with the objective's own draws
    torch.testing.assert_close(found["rate"] - found["log_likelihood"], objective(x).detach())


class Conjugate(nn.Module):
    """x = z + sigma e: the posterior is a Gaussian, and log p(x) is known."""

    latent_shape = (2,)

    def __init__(self):
        super().__init__()
        self.log_sigma = nn.Parameter(torch.tensor(-0.4).double())

    @property
    def variance(self):
        return (2 * self.log_sigma).exp()

    def encode(self, x):
        log_std = 0.5 * (self.variance / (1 + self.variance)).log()
        return x / (1 + self.variance), log_std.expand_as(x)

    def log_likelihood(self, x, z):
        return Normal(z, self.log_sigma.exp()).log_prob(x).sum(1)

    def elbo(self, x, noise):
        mean, log_std = self.encode(x)
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std
        return self.log_likelihood(x, mean + log_std.exp() * noise) - kl.sum(1)


@pytest.mark.parametrize("draws", [1, 16])
def test_with_the_true_posterior_the_importance_weights_are_exact(draws):
    model = Conjugate()
    x = 3 * torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    found = columns(DoseStatistics(NegativeELBO(model), draws), x)
    expected = Normal(0.0, (1 + model.variance).sqrt()).log_prob(x).sum(1).detach()
    torch.testing.assert_close(found["iwae"], expected, **EXACT)


def test_far_out_the_weights_neither_underflow_nor_overflow():
    model = Conjugate()
    x = torch.tensor([[1e4, -1e4]]).double()
    found = columns(DoseStatistics(NegativeELBO(model)), x)
    expected = Normal(0.0, (1 + model.variance).sqrt()).log_prob(x).sum(1).detach()
    torch.testing.assert_close(found["iwae"], expected, rtol=1e-9, atol=0)


def test_table_and_its_density():
    vae = moved(build("vae", "tiny", SHAPE).double().eval())
    statistic = DoseStatistics(NegativeELBO(vae), draws=2)
    table = statistic.features(images(40), batch_size=16, progress=False)
    np.testing.assert_allclose(table.values, statistic.measure(images(40)).detach(), rtol=1e-9)
    assert "draws=2" in table.objective
    assert np.isfinite(KDE().fit(table).score(table)).all()


def test_what_has_no_parts_is_refused():
    diffusion = build("diffusion", "tiny", SHAPE).eval()
    with pytest.raises(TypeError, match="losses at several timesteps"):
        DoseStatistics(standard_objective(diffusion))
    with pytest.raises(TypeError, match="Linear to have transform"):
        DoseStatistics(NegativeLogLikelihood(nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="Linear has no elbo"):
        DoseStatistics(NegativeELBO(nn.Linear(2, 2), latent_shape=(1,)))
    with pytest.raises(ValueError, match="at least 1"):
        DoseStatistics(NegativeELBO(Conjugate()), draws=0)
