"""Likelihoods against densities that are known in closed form."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from fimetric.noise import fixed_noise
from fimetric.objectives import NegativeELBO, NegativeLogLikelihood

X = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).double()
# float64, a handful of operations
EXACT = {"rtol": 1e-12, "atol": 1e-12}


class Diagonal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]).double())
        self.log_std = nn.Parameter(torch.tensor([0.1, -0.7, 0.3]).double())

    def distribution(self, context: torch.Tensor | float = 0.0) -> Independent:
        return Independent(Normal(self.mean + context, self.log_std.exp()), 1)

    def log_prob(self, x, *context):
        return self.distribution(*context).log_prob(x)


class Callable(Diagonal):
    """The same as a module that is called for its distribution, as in zuko."""

    log_prob = None

    def forward(self, *context):
        return self.distribution(*context)


@pytest.mark.parametrize("kind", [Diagonal, Callable])
def test_density_with_log_prob_or_called_for_a_distribution(kind):
    model = kind()
    expected = -model.distribution().log_prob(X)
    assert torch.equal(NegativeLogLikelihood(model)(X), expected)
    assert torch.equal(NegativeLogLikelihood(model)({"x": X}), expected)


@pytest.mark.parametrize("kind", [Diagonal, Callable])
def test_context_of_all_samples_or_of_each(kind):
    model, shared = kind(), torch.tensor([1.0, 2.0, 3.0]).double()
    found = NegativeLogLikelihood(model, context=shared)(X)
    torch.testing.assert_close(found, -model.distribution(shared).log_prob(X), **EXACT)
    own = torch.randn(7, 3, generator=torch.Generator().manual_seed(1)).double()
    found = NegativeLogLikelihood(model, context="c")({"c": own, "x": X})
    torch.testing.assert_close(found, -model.distribution(own).log_prob(X), **EXACT)


@pytest.mark.parametrize("batch", [X, {"x": X, "label_of_mine": X}])
def test_context_that_is_not_in_the_batch(batch):
    with pytest.raises(ValueError, match="no entry 'c', named as the context"):
        NegativeLogLikelihood(Diagonal(), context="c")(batch)


def test_flow_of_zuko():
    zuko = pytest.importorskip("zuko")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = zuko.flows.MAF(3, 2, transforms=2, hidden_features=(8,)).double()
    context = torch.tensor([0.3, -2.0]).double()
    found = NegativeLogLikelihood(flow, context=context)(X)
    torch.testing.assert_close(found, -flow(context).log_prob(X), **EXACT)
    each = context * torch.arange(7).double()[:, None]
    found = NegativeLogLikelihood(flow, context="c")({"x": X, "c": each})
    torch.testing.assert_close(found, -flow(each).log_prob(X), **EXACT)


class Histogram(nn.Module):
    """A density that is constant on each of 256 bins, so that the noise within one plays no part.

    256 bins of width 1/256 that hold probability P_k each: density 256 P_k.
    """

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.linspace(-3, 2, 256).double())

    def log_prob(self, x):
        assert (x >= 0).all() and (x < 1).all()
        log_p = self.logits.log_softmax(0)[(256 * x).floor().long()] + math.log(256)
        return log_p.flatten(1).sum(1)


def test_dequantised_code_length_is_that_of_the_levels():
    model = Histogram()
    levels = torch.arange(256).reshape(128, 1, 1, 2)
    found = NegativeLogLikelihood(model, levels=256)(levels.double() / 255)
    expected = -model.logits.log_softmax(0)[levels].flatten(1).sum(1)
    torch.testing.assert_close(found, expected, **EXACT)


def test_dequantisation_noise_is_where_it_should_be():
    model, x = Diagonal(), torch.tensor([[0, 7, 255], [3, 3, 3]]).double() / 255
    noise = fixed_noise(5, "dequantisation", (3,), x, "uniform")
    expected = 3 * math.log(256) - model.log_prob((255 * x + noise) / 256)
    found = NegativeLogLikelihood(model, levels=256, seed=5)(x)
    torch.testing.assert_close(found, expected, **EXACT)
    assert not torch.equal(found, NegativeLogLikelihood(model, levels=256, seed=6)(x))


class LinearGaussian(nn.Module):
    """q(z|x) = N(A x, s^2 I), p(x|z) = N(W z, I), p(z) = N(0, I)."""

    latent_shape = (2,)

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(3)
        self.A = nn.Parameter(torch.randn(2, 3, generator=g).double())
        self.W = nn.Parameter(torch.randn(3, 2, generator=g).double())
        self.s = 0.4

    def elbo(self, x, noise):
        z = x @ self.A.T + self.s * noise
        log_p = -0.5 * (x - z @ self.W.T).square().sum(1) - 1.5 * math.log(2 * math.pi)
        return log_p - self.kl(x)

    def kl(self, x):
        mean = (x @ self.A.T).square().sum(1)
        return 0.5 * (mean + 2 * (self.s**2 - 1 - 2 * math.log(self.s)))


def test_negative_elbo_of_a_linear_gaussian_at_its_fixed_noise():
    model = LinearGaussian()
    noise = fixed_noise(9, "draw=0", (2,), X, "normal")
    q = Normal(X @ model.A.T, model.s)
    z = q.mean + model.s * noise
    kl = torch.distributions.kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    expected = kl - Normal(z @ model.W.T, 1.0).log_prob(X).sum(1)
    torch.testing.assert_close(NegativeELBO(model, seed=9)(X), expected, **EXACT)


def test_draws_of_the_elbo_average_to_its_expectation():
    model, draws = LinearGaussian(), 200
    objective = NegativeELBO(model, draws=draws)
    assert list(objective.views())[:2] == ["draw=0", "draw=1"]
    with torch.no_grad():
        each = torch.stack([objective.losses(view, X) for view in objective.views()])
        reconstruction = (X - X @ model.A.T @ model.W.T).square().sum(1)
        spread = model.s**2 * model.W.square().sum()
        expected = 0.5 * (reconstruction + spread) + 1.5 * math.log(2 * math.pi) + model.kl(X)
    error = each.std(0) / draws**0.5
    assert ((each.mean(0) - expected).abs() < 4 * error).all()  # all seven share their noise
    assert (error < 0.1 * expected).all()  # the test can see something


def test_latent_shape_may_be_given():
    model = LinearGaussian()
    expected = NegativeELBO(model)(X)
    model.latent_shape = (5,)
    assert torch.equal(NegativeELBO(model, latent_shape=[2])(X), expected)


def test_arguments_that_make_no_sense():
    with pytest.raises(ValueError, match="Diagonal has no latent_shape: pass"):
        NegativeELBO(Diagonal())
    with pytest.raises(ValueError, match="draws must be at least 1, not 0"):
        NegativeELBO(LinearGaussian(), draws=0)
    for levels in (0, 1, -256):
        with pytest.raises(ValueError, match="levels must be at least 2"):
            NegativeLogLikelihood(Diagonal(), levels=levels)


def test_the_description_changes_with_all_that_changes_the_loss():
    context = torch.zeros(3)
    objectives = [
        NegativeLogLikelihood(Diagonal()),
        NegativeLogLikelihood(Diagonal(), levels=256),
        NegativeLogLikelihood(Diagonal(), context="c"),
        NegativeLogLikelihood(Diagonal(), context=context),
        NegativeLogLikelihood(Diagonal(), context=context + 1),
        NegativeELBO(LinearGaussian()),
        NegativeELBO(LinearGaussian(), draws=2),
    ]
    assert len({o.describe() for o in objectives}) == len(objectives)
    again = NegativeLogLikelihood(Diagonal(), context=context.clone())
    assert again.describe() == objectives[3].describe()
