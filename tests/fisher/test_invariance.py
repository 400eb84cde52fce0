"""What changes with the representation is the likelihood, and nothing else."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from fimetric.fisher import jacobians
from fimetric.fisher.double import in_double
from fimetric.fisher.invariance import invariance_report
from fimetric.fisher.reexpressed import Reexpressed, continuous
from fimetric.fisher.representations import (
    HSV,
    Changed,
    ChannelAffine,
    Logit,
    Permutation,
    Representation,
    TrainableAffine,
    YCbCr,
    dequantised,
)
from fimetric.gradients.norms import GradientNorms
from fimetric.models import build
from fimetric.noise import fixed_noise
from fimetric.objectives import (
    Denoising,
    NegativeELBO,
    NegativeLogLikelihood,
    Objective,
    standard_objective,
)

FIXED = {
    "logit": Logit(),
    "affine": ChannelAffine([2.0, -3.0, 0.5], [1.0, 0.0, -4.0]),
    "permutation": Permutation(5),
    "YCbCr": YCbCr(),
    "HSV": HSV(),
}
KINDS = ("glow", "vae", "diffusion")


def images(n: int = 4, seed: int = 0) -> torch.Tensor:
    """8-bit images, one pixel of each grey on purpose."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (n, 3, 8, 8), generator=g).float() / 255
    x[:, :, 0, 0] = 0.2
    return x


def make(kind: str):
    config = {"steps": 2, "levels": 1, "hidden": 6} if kind == "glow" else "tiny"
    return build(kind, config, (3, 8, 8)).eval()


@pytest.fixture(scope="module", params=KINDS)
def objective(request) -> Objective:
    """An untrained model with random weights; in float32, as users have them."""
    model = make(request.param)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():  # zero-initialised layers would hide those before them
            p += 0.05 * torch.randn(p.shape, generator=g)
    return standard_objective(model)


class Gaussian(nn.Module):
    """Independent normals in two dimensions, whose change of variables is known."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([0.3, -1.0]))
        self.log_std = nn.Parameter(torch.tensor([0.2, -0.4]))

    def log_prob(self, x):
        return Independent(Normal(self.mean, self.log_std.exp()), 1).log_prob(x)


POINTS = torch.randn(6, 2, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize("name", FIXED)
def test_it_holds_for_every_kind_of_model_and_map(objective, name):
    found = invariance_report(objective, images(), FIXED[name])
    assert found.holds, found.why
    assert found.faults == []
    assert found.worst[1] < 1e-10 and found.differences.shape == (len(found.names),)
    assert found.names == tuple(GradientNorms(objective.module).names)
    assert found.round_trip < 1e-12 and found.log_det_error < 1e-10
    assert found.dequantised and found.pixels == 4 * 64 and found.dimension == 192
    assert (found.singular > 0) == (name == "HSV")
    noise = "the noise of this" in found.why and "added in the space of x, not after T" in found.why
    assert noise == (objective.kind != "likelihood")


def test_the_control_fails_by_its_own_parameter(objective):
    found = invariance_report(objective, images(), TrainableAffine(3))
    assert not found.holds
    assert found.worst == ("representation.log_scale", 1.0)
    assert len(found.faults) == 1  # all else is as it should be
    assert (
        "representation.log_scale" in found.why and "a trainable parameter of the map" in found.why
    )
    assert (found.differences[:-1] < 1e-10).all()


def test_bits_change_by_the_log_determinant_and_singular_pixels_are_counted():
    objective = standard_objective(make("glow"))
    x = dequantised(images(), 256, torch.Generator().manual_seed(3))
    found = invariance_report(objective, images(), HSV(), seed=3)
    changed = HSV()(x)
    expected = changed.log_det.numpy() / (192 * math.log(2))
    assert found.bits_change == pytest.approx(expected, rel=1e-12)
    assert found.singular == int(changed.untouched.sum())
    other = invariance_report(objective, images(), HSV(), seed=4)
    assert not (other.bits_change == found.bits_change).any()


def test_the_user_s_model_and_map_stay_as_they_are(objective):
    module, transform = objective.module, TrainableAffine(3)
    tensors = [*module.parameters(), *module.buffers(), *transform.parameters()]
    before = [tensor.detach().clone() for tensor in tensors]
    invariance_report(objective, images(2), transform)
    after = [*module.parameters(), *module.buffers(), *transform.parameters()]
    assert all(a is b for a, b in zip(tensors, after, strict=True))
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old, new) and old.dtype == new.dtype and new.grad is None


def test_closed_form_of_a_density_in_another_representation():
    """y = a x + b of a normal x is a normal y; computed from y alone."""
    model, a, b = Gaussian().double(), torch.tensor([2.0, -0.5]), torch.tensor([1.0, 3.0])
    there = Reexpressed(NegativeLogLikelihood(model), ChannelAffine(a.tolist(), b.tolist()))
    y, changed = there.show(POINTS)
    expected = Normal(a * model.mean + b, a.abs() * model.log_std.exp()).log_prob(y).sum(1)
    torch.testing.assert_close(there(y), -expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(changed.y, a * POINTS + b)


def test_closed_form_of_the_gradient_with_respect_to_the_map():
    model, transform = Gaussian().double(), TrainableAffine(2, 0.3)
    there = Reexpressed(NegativeLogLikelihood(model), transform)
    y = POINTS * 1.7
    scale = transform.log_scale.exp()
    expected = -Normal(scale * model.mean, scale * model.log_std.exp()).log_prob(y).sum(1)
    losses = there(y)
    for i in range(len(y)):
        found = torch.autograd.grad(losses[i], transform.log_scale, retain_graph=True)
        right = torch.autograd.grad(expected[i], transform.log_scale, retain_graph=True)
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)


def test_the_mask_that_comes_with_y_rules_the_log_determinant_too():
    x = dequantised(images(2), 256, torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[:, :3] = True
    expected = HSV(0.0)(x, mask)
    objective = NegativeELBO(build("vae", "tiny", (3, 8, 8)).double().eval())
    there = Reexpressed(objective, HSV(0.9))  # which by itself would leave most pixels alone
    change = there({"x": expected.y, "untouched": mask}) - objective(x)
    torch.testing.assert_close(change, expected.log_det, rtol=1e-9, atol=1e-9)


def test_the_density_of_y_integrates_to_one():
    there = Reexpressed(NegativeLogLikelihood(Gaussian().double()), Logit(0.01))
    line = torch.linspace(-14, 14, 700, dtype=torch.float64)
    with torch.no_grad():
        mass = float((-there(torch.cartesian_prod(line, line))).exp().sum())
    mass *= float(line[1] - line[0]) ** 2
    inside = Normal(there.module.mean, there.module.log_std.exp())  # x may lie outside [0, 1] ...
    edge = torch.tensor(0.01 / 0.98)  # ... but x = T^-1(y) lies in (-edge, 1 + edge)
    expected = (inside.cdf(1 + edge) - inside.cdf(-edge)).prod().item()
    assert mass == pytest.approx(expected, rel=1e-4)


def test_a_flow_of_zuko():
    zuko = pytest.importorskip("zuko")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = zuko.flows.NSF(4, transforms=2, hidden_features=(16, 16))
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(4))
    for transform in (Logit(), ChannelAffine([3.0, 1.0, -2.0, 0.1]), Permutation()):
        found = invariance_report(NegativeLogLikelihood(flow), x, transform)
        assert found.holds, found.why
        assert not found.dequantised and found.pixels == 5
    assert not invariance_report(NegativeLogLikelihood(flow), x, TrainableAffine(4)).holds


def test_an_objective_that_is_a_closure_over_its_model():
    """A copy of the module would leave the closure with the original, and all norms zero."""
    model = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2))
    objective = Objective(lambda x: (model(x) - x).square().sum(1), model)
    found = invariance_report(objective, POINTS.float(), ChannelAffine(3.0, 0.1))
    assert found.holds and found.kind == "loss" and "any noise of this loss" in found.why

    class Inexact(ChannelAffine):
        def inverse(self, y, untouched=None):
            return 1.001 * super().inverse(y, untouched)

    seen = invariance_report(objective, POINTS, Inexact(3.0, 0.1))
    assert set(seen.names) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert (seen.differences > 1e-6).all()
    assert not invariance_report(objective, POINTS, TrainableAffine(2)).holds


def test_structural_zeros_are_no_difference():
    """The first bias cancels before a normalisation: its norms are rounding noise, never equal."""

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 3, 1)

        def forward(self, x):
            return self.second(nn.functional.instance_norm(self.first(x)))

    model = Normalised()
    objective = Objective(lambda x: (model(x) - x).square().flatten(1).sum(1), model)
    for transform in (YCbCr(), HSV(), Logit()):
        found = invariance_report(objective, images(), transform)
        assert found.holds, found.why
        assert 0 < found.differences[found.names.index("first.bias")] < 1e-8


class Broken(ChannelAffine):
    """An affine map with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__(2.0, 1.0)
        self.fault = fault

    def forward(self, x, untouched=None):
        changed = super().forward(x)
        off = {"log_det": 1e-5, "sign": -2 * changed.log_det}.get(self.fault, 0.0)
        return changed._replace(log_det=changed.log_det + off)

    def inverse(self, y, untouched=None):
        off = {"inverse": 1e-9, "nan": math.nan}.get(self.fault, 0.0)
        return super().inverse(y) + off


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("log_det", "log-determinant is 1e-05 nats off that of the Jacobian"),
        ("sign", "log-determinant is 2.77 nats off"),
        ("inverse", "the inverse misses x by 7.58e-10, more than 1e-12"),  # of data up to 1.3
    ],
)
def test_a_broken_map_is_found(fault, message):
    objective = NegativeLogLikelihood(Gaussian())
    assert invariance_report(objective, POINTS, Broken("none")).holds
    found = invariance_report(objective, POINTS, Broken(fault))
    assert not found.holds and message in found.why
    others = [m for m in found.faults if message not in m]
    assert others == [] or fault == "inverse"  # a wrong x has another likelihood, too


def test_a_map_that_makes_no_numbers_names_the_sample():
    with pytest.raises(ValueError, match="loss of sample '0' is nan"):
        invariance_report(NegativeLogLikelihood(Gaussian()), POINTS, Broken("nan"))


def test_norms_that_are_not_numbers_agree_with_nothing():
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.zero = nn.Parameter(torch.zeros(2))

        def forward(self, x):
            return (self.zero * x).square().sum(1).sqrt()  # its gradient at 0 is nan

    model = Root()
    found = invariance_report(Objective(model, model), POINTS, ChannelAffine(2.0))
    assert not found.holds and found.worst == ("zero", math.inf)


def test_a_parameter_that_the_map_shares_with_the_model_is_found():
    model = Gaussian()

    class Scaled(Representation):
        name = "scaled by the model"

        def __init__(self) -> None:
            super().__init__()
            self.shared = model.log_std

        def forward(self, x, untouched=None):
            y = x * self.shared.exp()
            return Changed(y, self.shared.sum().expand(len(x)))

        def inverse(self, y, untouched=None):
            return y * torch.exp(-self.shared)

    found = invariance_report(NegativeLogLikelihood(model), POINTS, Scaled())
    assert found.names == ("mean", "log_std") and found.worst[0] == "log_std"
    assert not found.holds


@pytest.mark.parametrize("kind", ["vae", "diffusion"])
def test_noise_added_after_the_map_would_make_other_gradients(kind):
    """Why it holds for a bound and for denoising only with the noise in the space of x."""
    model, transform = build(kind, "tiny", (3, 8, 8)).double().eval(), ChannelAffine(2.0)
    x = images(2).double()
    objective = standard_objective(model, (300,) if kind == "diffusion" else None)
    if isinstance(objective, Denoising):
        a = objective.scheduler.alphas_cumprod[300].double()
        eps = fixed_noise(0, "t=300/draw=0", x.shape[1:], x, "normal")
        y = transform(2 * x - 1).y
        noisy = transform.inverse(a.sqrt() * y + (1 - a).sqrt() * eps)
        steps = torch.full((2,), 300)
        after = (eps - model.unet(noisy, steps).sample).square().flatten(1).sum(1)
    else:
        noise = fixed_noise(0, "draw=0", model.latent_shape, x, "normal")
        after = -model.elbo(transform.inverse(transform(x).y + 0.1 * x.sign()), noise)
    norms = GradientNorms(objective.module)
    there = Reexpressed(objective, transform)
    inside, here = norms(there(there.show(x)[0])), norms(objective(x))
    torch.testing.assert_close(inside, here, rtol=1e-9, atol=1e-20)
    assert ((norms(after) - here).abs() > 1e-3 * here).any(1).all()


def test_bounds_and_losses_change_as_their_kind_says():
    vae = standard_objective(build("vae", "tiny", (3, 8, 8)).double().eval())
    unet = standard_objective(build("diffusion", "tiny", (3, 8, 8)).double().eval())
    x, transform = images(2).double(), Logit(0.01)
    for objective, share in ((vae, 1.0), (unet, 0.0)):
        there = Reexpressed(objective, transform)
        y, changed = there.show(x)
        difference = there(y) - objective(x)
        torch.testing.assert_close(difference, share * changed.log_det, rtol=1e-8, atol=1e-8)
        assert list(there.views()) == list(objective.views())
    assert there.describe().startswith("Reexpressed(") and "margin=0.01" in there.describe()


def test_several_views_and_the_entries_of_a_batch():
    class Shifted(Gaussian):
        def log_prob(self, x, c):
            return Independent(Normal(self.mean + c, self.log_std.exp()), 1).log_prob(x)

    batch = {"x": POINTS, "c": POINTS.flip(0)}
    found = invariance_report(NegativeLogLikelihood(Shifted(), context="c"), batch, SomeUntouched())
    assert found.holds, found.why
    model = build("vae", "tiny", (3, 8, 8)).eval()
    found = invariance_report(NegativeELBO(model, draws=3), images(2), HSV())
    assert found.holds and len(found.differences) == len(list(model.parameters()))


class SomeUntouched(ChannelAffine):
    """An affine map that marks some samples as untouched, and leaves them as they are."""

    def __init__(self) -> None:
        super().__init__(2.0)

    def forward(self, x, untouched=None):
        untouched = x[:, 0] < 0 if untouched is None else untouched
        changed = super().forward(x)
        y = torch.where(untouched[:, None], x, changed.y)
        log_det = torch.where(untouched, torch.zeros_like(x[:, 0]), changed.log_det)
        return changed._replace(y=y, log_det=log_det, untouched=untouched)

    def inverse(self, y, untouched=None):
        return torch.where(untouched[:, None], y, super().inverse(y))


def test_one_sample():
    objective = standard_objective(make("glow"))
    for transform in (HSV(), Permutation()):
        found = invariance_report(objective, images(1), transform)
        assert found.holds and found.bits_change.shape == (1,)
    assert not invariance_report(objective, images(1), TrainableAffine(3)).holds


def test_only_so_many_samples_are_taken():
    found = invariance_report(NegativeLogLikelihood(Gaussian()), POINTS, SomeUntouched(), samples=3)
    assert found.bits_change.shape == (3,)


def test_data_that_are_continuous_get_no_noise_and_discrete_ones_their_own():
    gaussian = NegativeLogLikelihood(Gaussian())
    _, x, noisy = continuous(gaussian, POINTS, 0)
    assert torch.equal(x, POINTS) and not noisy
    glow = NegativeLogLikelihood(make("glow"), levels=256)
    found, x, noisy = continuous(glow, images(), 7)
    assert noisy and found.levels is None and x.dtype == torch.float64
    assert torch.equal(x, dequantised(images(), 256, torch.Generator().manual_seed(7)))
    vae = NegativeELBO(build("vae", "tiny", (3, 8, 8)))
    assert continuous(vae, images(), 0)[2]
    assert not continuous(vae, images() * 0.99, 0)[2]
    assert not continuous(vae, images() + 1.0, 0)[2]


def test_black_and_white_that_are_not_dequantised():
    """Rounding brings T^-1(y) a little over the edges of the domain."""
    objective = standard_objective(build("vae", "tiny", (3, 8, 8)).eval())
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    x = torch.where(x < 0.3, 0.0, torch.where(x > 0.7, 1.0, x))
    for transform in (Logit(), HSV(), HSV(0.0), YCbCr()):
        found = invariance_report(objective, x, transform)
        assert not found.dequantised
        assert found.holds, found.why


def test_tied_parameters_in_double_stay_tied():
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    model["again"] = model["a"]

    def job():
        assert model["a"].weight is model["b"].weight and model["again"].weight is model["a"].weight
        return [p.dtype for p in model.parameters()]

    weight = model["a"].weight
    assert in_double(model, job) == [torch.float64] * 3
    assert model["a"].weight is model["b"].weight is weight


def test_in_double_puts_back_what_was_there_even_after_a_failure():
    model = nn.LSTM(3, 4)
    weights = list(model.parameters())

    def job():
        assert {p.dtype for p in model.parameters()} == {torch.float64}
        assert all(p.is_leaf and p.requires_grad for p in model.parameters())
        model(torch.ones(5, 1, 3).double())
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        in_double(model, job)
    assert all(a is b for a, b in zip(weights, model.parameters(), strict=True))
    assert model(torch.ones(5, 1, 3))[0].dtype == torch.float32


def test_frozen_and_complex_parameters_in_double():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    model.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    kinds = in_double(
        model, lambda: {n: (p.dtype, p.requires_grad) for n, p in model.named_parameters()}
    )
    assert kinds == {
        "weight": (torch.float64, True),
        "bias": (torch.float64, False),
        "phase": (torch.complex128, True),
    }


@pytest.mark.parametrize("transform", [YCbCr(), HSV()])
def test_grey_images_have_no_colour_space(transform):
    objective = standard_objective(build("glow", "tiny", (1, 8, 8)).eval())
    with pytest.raises(ValueError, match=r"takes colour images .* grey data have no such"):
        invariance_report(objective, images()[:, :1], transform)


def test_data_that_will_not_do():
    gaussian = NegativeLogLikelihood(Gaussian())
    broken = POINTS.clone()
    broken[3, 1] = math.nan
    with pytest.raises(ValueError, match=r"sample 3 .* NaN or infinite"):
        invariance_report(gaussian, broken, ChannelAffine(2.0))
    with pytest.raises(ValueError, match="logit takes data in"):
        invariance_report(gaussian, POINTS, Logit())
    with pytest.raises(TypeError, match="tokens have no Jacobian"):
        invariance_report(gaussian, torch.arange(6).view(3, 2), ChannelAffine(2.0))
    with pytest.raises(RuntimeError, match="training mode"):
        invariance_report(standard_objective(build("vae", "tiny", (3, 8, 8))), images(), HSV())


def test_jacobians_of_large_images_are_taken_pixel_after_pixel(monkeypatch):
    monkeypatch.setattr(jacobians, "MOST", 100)
    objective = standard_objective(make("glow"))
    with pytest.raises(ValueError, match="permutation at 192 dimensions is too large"):
        invariance_report(objective, images(2), Permutation())
    monkeypatch.setattr(jacobians, "BLOCK", 10)
    assert invariance_report(objective, images(2), HSV()).holds
