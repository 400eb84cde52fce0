"""The regret against a loop over samples, and against optima that are known."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fimetric.models import build
from fimetric.noise import fixed_noise
from fimetric.objectives import NegativeELBO, Objective
from fimetric.statistics.regret import LikelihoodRegret

SHAPE = (1, 8, 8)


def images(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (255 * torch.rand(n, *SHAPE, generator=g)).round().double() / 255


@pytest.fixture
def vae():
    model = build("vae", "tiny", SHAPE).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double()
    return model


def by_loop(vae, x, draws, steps, lr, betas=(0.9, 0.999), eps=1e-8):
    """Return the regret of one sample, Adam written out (Kingma and Ba, 2015)."""
    noises = [fixed_noise(0, f"draw={k}", vae.latent_shape, x, "normal") for k in range(draws)]

    def elbo(mean, log_std):
        bounds = []
        for noise in noises:
            location, log_scale = vae.decode(mean + log_std.exp() * noise)
            upper = torch.sigmoid((x - location + 0.5 / 255) / log_scale.exp())
            lower = torch.sigmoid((x - location - 0.5 / 255) / log_scale.exp())
            upper, lower = upper.where(x < 1, 1.0), lower.where(x > 0, 0.0)
            q = torch.distributions.Normal(mean, log_std.exp())
            kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
            bounds.append((upper - lower).log().sum() - kl.sum())
        return sum(bounds) / draws

    theta = [part.detach().clone().requires_grad_() for part in vae.encode(x)]
    m, v = [torch.zeros_like(t) for t in theta], [torch.zeros_like(t) for t in theta]
    values = [elbo(*theta).item()]
    for step in range(1, steps + 1):
        gradients = torch.autograd.grad(-elbo(*theta), theta)
        for i, g in enumerate(gradients):
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g**2
            move = m[i] / (1 - betas[0] ** step) / ((v[i] / (1 - betas[1] ** step)).sqrt() + eps)
            theta[i] = (theta[i] - lr * move).detach().requires_grad_()
        values.append(elbo(*theta).item())
    return max(values) - values[0]


@pytest.mark.parametrize("draws", [1, 2])
def test_regret_is_that_of_a_loop_over_samples(vae, draws):
    x = images(4)
    objective = NegativeELBO(vae, draws=draws)
    found = LikelihoodRegret(objective, steps=12, lr=0.1).measure(x)
    assert found.shape == (4, 1)
    expected = [by_loop(vae, x[i : i + 1], draws, 12, 0.1) for i in range(4)]
    # differences of bounds of some hundred nats, the oracle's likelihood by subtraction
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6, atol=1e-6)
    assert (found > 1).all()


def test_features_have_the_regret_and_the_encoders_loss(vae):
    x = images(5)
    objective = NegativeELBO(vae)
    statistic = LikelihoodRegret(objective, steps=3)
    table = statistic.features(x, batch_size=2, progress=False)
    assert table.names == ("regret",)
    np.testing.assert_allclose(table.values, statistic.measure(x), rtol=1e-9)
    np.testing.assert_allclose(table.losses[:, 0], objective(x).detach(), rtol=1e-12)
    assert table.objective == "likelihood-regret(steps=3, lr=0.05) of " + objective.describe()


def test_model_and_its_gradients_are_not_touched(vae):
    before = copy.deepcopy(vae.state_dict())
    marks = {}
    for name, p in vae.named_parameters():
        p.grad = marks[name] = torch.ones_like(p)
    with torch.no_grad():
        LikelihoodRegret(NegativeELBO(vae), steps=2).measure(images(3))
    for name, p in vae.named_parameters():
        assert p.grad is marks[name] and (p.grad == 1).all()
        assert torch.equal(p, before[name])


class Bowl(nn.Module):
    """A bound that is best at mean 3 and log_std -1, by half the squared distance."""

    latent_shape = (2,)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def encode(self, x):
        return self.scale * x, torch.zeros_like(x)

    def bound(self, x, mean, log_std, noise):
        return -0.5 * ((mean - 3).square() + (log_std + 1).square()).sum(1) * self.scale

    def elbo(self, x, noise):
        return self.bound(x, *self.encode(x), noise)


def test_regret_reaches_a_known_optimum():
    x = torch.tensor([[0.0, 1.0], [3.0, 3.0], [5.0, -2.0]]).double()
    regret = LikelihoodRegret(NegativeELBO(Bowl()), steps=1500).measure(x)[:, 0]
    expected = 0.5 * ((x - 3).square() + 1).sum(1)
    torch.testing.assert_close(regret, expected, rtol=1e-6, atol=1e-6)


def test_the_best_iterate_counts_so_that_regret_is_never_negative():
    class Settled(Bowl):
        def encode(self, x):
            return torch.full_like(x, 3.0), torch.full_like(x, -1.0) + 1e-9 * x

    for lr in (0.05, 1e3):
        statistic = LikelihoodRegret(NegativeELBO(Settled()), steps=20, lr=lr)
        regret = statistic.measure(torch.ones(1, 2).double())
        assert 0 <= regret.item() < 1e-15
    one = LikelihoodRegret(NegativeELBO(Bowl()), steps=1, lr=1e3).measure(
        torch.zeros(1, 2).double()
    )
    assert one.item() == 0  # the only step leads far away


def test_a_step_that_gives_nan_does_not_count_and_a_first_one_does():
    class Broken(Bowl):
        def bound(self, x, mean, log_std, noise):
            return (
                super().bound(x, mean, log_std, noise) + torch.where(mean > 0.5, torch.nan, 0)[:, 0]
            )

    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]]).double()
    regret = LikelihoodRegret(NegativeELBO(Broken()), steps=30, lr=0.1).measure(x)[:, 0]
    assert 0 < regret[0] < 10
    assert regret[1].isnan()


def test_what_has_no_posterior_is_refused(vae):
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="needs a NegativeELBO, not Objective"):
        LikelihoodRegret(Objective(lambda x: model(x).sum(1), model))
    with pytest.raises(TypeError, match="Linear has no elbo"):
        LikelihoodRegret(NegativeELBO(model, latent_shape=(2,)))
    for settings in ({"steps": 0}, {"lr": 0.0}, {"lr": float("nan")}):
        with pytest.raises(ValueError, match="must be positive"):
            LikelihoodRegret(NegativeELBO(vae), **settings)
    vae.train()
    with pytest.raises(RuntimeError, match="training mode"):
        LikelihoodRegret(NegativeELBO(vae)).measure(images(2))
