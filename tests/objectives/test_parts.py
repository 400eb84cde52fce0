"""What losses consist of: laws of all objectives, and each part against its definition."""

import io
import math
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image, features
from torch import nn
from torch.distributions import Normal, kl_divergence

from fimetric.data.batch import Batch
from fimetric.models import build
from fimetric.models.wavenet import LEVELS, levels_of, values_of
from fimetric.noise import fixed_noise
from fimetric.objectives import (
    CausalLM,
    FlowMatching,
    GaussianELBO,
    MaskedLM,
    NegativeELBO,
    NegativeLogLikelihood,
    Objective,
    Seq2SeqLM,
    positions,
)

pytest.importorskip("transformers")
pytest.importorskip("zuko")

from tests.objectives import saved_text_models
from tests.statistics.known_diffusion import abar, centred, eps_at, gaussian, images, noise
from tests.statistics.known_texts import (
    TEXTS,
    causal,
    excesses,
    padded_otherwise,
    token_losses,
    worst,
)
from tests.statistics.test_dose import Affine, Conjugate

EXACT = {"rtol": 1e-9, "atol": 1e-9}  # float64 sums in another order
SHAPE, N = (1, 8, 8), 5
TOKENS = ["nll", "entropy", "nll-entropy", "worst-fifth-standardised"]
POSITIONS = ["worst-fifth", *(f"quantile-{q}%" for q in (10, 50, 90, 100))]
SCALES = (0, 10, 30, 100, 200, 300, 400, 500, 600, 800)


def moved(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=generator).to(p)
    return model.eval()


def pictures():
    """Return pictures of k/255, each of fewer levels than the one before."""
    levels = torch.randint(256, (N, *SHAPE), generator=torch.Generator().manual_seed(0))
    step = 4 ** torch.arange(N).clamp_max(3).reshape(N, 1, 1, 1)
    return (levels // step * step).double() / 255


def small_images():
    return (255 * images()).round() / 255


def rows(columns, scale=1.0):
    generator = torch.Generator().manual_seed(2)
    return scale * torch.randn(N, columns, generator=generator, dtype=torch.float64)


class Diffusers(nn.Module):
    """An autoencoder of pictures as the library has them, linear."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        draw = [torch.randn(s, generator=generator).double() / 8 for s in ((64, 8), (4, 64))]
        self.A, self.W = map(nn.Parameter, draw)

    def encode(self, x):
        mean, logvar = (x.flatten(1) @ self.A).chunk(2, 1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=logvar))

    def decode(self, z):
        return SimpleNamespace(sample=(z @ self.W).unflatten(1, SHAPE))


class Bound(nn.Module):
    """A bound that does not show what it is made of."""

    latent_shape = (3,)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3).double())

    def elbo(self, x, noise):
        return -(x - self.scale * noise).square().sum(1)


class Still(nn.Module):
    """Predicts no velocity at all."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()).double())

    def forward(self, x, t):
        return self.bias.expand_as(x)


def vae(**options):
    return NegativeELBO(moved(build("vae", "tiny", SHAPE).double()), **options)


def likelihood(kind, shape=SHAPE, **options):
    return NegativeLogLikelihood(moved(build(kind, "tiny", shape).double()), **options)


def masked(**options):
    model = saved_text_models.build("bert", "AutoModelForMaskedLM").double()
    return MaskedLM(model, saved_text_models.tokenizer("masked"), **options)


def translation():
    model = saved_text_models.build("t5", "AutoModelForSeq2SeqLM").double()
    return Seq2SeqLM(model, saved_text_models.tokenizer("seq2seq"), condition="source")


def translated():
    objective = translation()
    sources = [text.split()[0] for text in TEXTS]
    batch = Batch(objective.prepare(TEXTS), TEXTS, kept={"source": sources})
    return objective, objective.conditioned(batch).x


def velocity(**options):
    return FlowMatching(Still(), FlowMatchEulerDiscreteScheduler(100), **options)


def clips():
    generator = torch.Generator().manual_seed(4)
    return (0.4 * torch.randn(N, 40, generator=generator)).double().clamp(-1, 1)


def plain():
    model = nn.Linear(3, 3).double()
    return Objective(lambda x: (model(x) - x).square().sum(1), model)


BOUND = {"rate", "distortion", "entropy", "cross-entropy"}
LOSSES = {f"loss/t={t}" for t in SCALES}
# name -> objective and batch, the parts of one forward pass, those that come on top
CASES = {
    "vae": (lambda: (vae(), pictures()), BOUND, {"iwae"}),
    "vae with draws": (lambda: (vae(draws=20), pictures()), BOUND, {"iwae"}),
    "a bound alone": (lambda: (NegativeELBO(Bound()), rows(3)), set(), set()),
    "diffusers": (
        lambda: (GaussianELBO(Diffusers(), draws=2), pictures()),
        {"rate", "distortion", "entropy"},
        set(),
    ),
    "glow": (
        lambda: (likelihood("glow", levels=256), pictures()),
        {"prior/scale=0", "prior/scale=1", "log-determinant"},
        set(),
    ),
    "nsf": (lambda: (likelihood("nsf", (4,)), rows(4)), {"prior", "log-determinant"}, set()),
    "pixelcnn": (lambda: (likelihood("pixelcnn"), pictures()), set(POSITIONS), set()),
    "wavenet": (
        lambda: (likelihood("wavenet", (40,)), clips()),
        {*POSITIONS, "entropy"},
        set(),
    ),
    "causal": (lambda: (causal(), causal().prepare(TEXTS)), {*TOKENS, *POSITIONS}, set()),
    "masked": (lambda: (masked(), masked().prepare(TEXTS)), {*TOKENS, *POSITIONS}, set()),
    "seq2seq": (translated, {*TOKENS, *POSITIONS}, set()),
    "diffusion": (lambda: (gaussian(draws=2), small_images()), set(), LOSSES),
    "flow matching": (
        lambda: (velocity(), small_images()),
        set(),
        {f"loss/t={t // 10}" for t in SCALES},
    ),
    "a function": (lambda: (plain(), rows(3)), set(), set()),
}


@pytest.fixture(params=CASES)
def case(request):
    make, free, more = CASES[request.param]
    return *make(), free, more


def cut(batch, i):
    alone = slice(i, i + 1)
    return {k: x[alone] for k, x in batch.items()} if isinstance(batch, dict) else batch[alone]


def of_model(found):
    """Return the parts without the code lengths, which know no model."""
    return {name: numbers for name, numbers in found.items() if not name.startswith("code/")}


def length(batch):
    return len(next(iter(batch.values())) if isinstance(batch, dict) else batch)


@pytest.mark.parametrize("costly", [False, True])
def test_laws(case, costly):
    """Names as stated, one finite number a sample, without graph, of that sample alone."""
    objective, batch, free, more = case
    before = {name: x.clone() for name, x in objective.state_dict().items()}
    with torch.enable_grad():
        found = objective.parts(batch, costly)
    assert of_model(found).keys() == free | (more if costly else set())
    for name, numbers in found.items():
        assert numbers.shape == (length(batch),), name
        assert numbers.dtype == torch.float64, name
        assert not numbers.requires_grad, name
        assert numbers.isfinite().all(), name
        assert name.startswith("code/") or numbers.std() > 0, name
    for i in range(length(batch)):
        alone = objective.parts(cut(batch, i), costly)
        assert alone.keys() == found.keys()
        for name, numbers in found.items():
            torch.testing.assert_close(alone[name], numbers[i : i + 1], **EXACT, msg=name)
    assert all(torch.equal(x, before[name]) for name, x in objective.state_dict().items())


@pytest.mark.parametrize("make", [vae, lambda: likelihood("glow", levels=256)])
def test_other_number_formats_lose_no_digits_of_a_sum(make):
    objective = make()
    expected = objective.parts(pictures(), costly=True)
    for kind, rtol in ((torch.float32, 1e-4), (torch.bfloat16, 0.2)):
        objective.module.to(kind)
        found = objective.parts(pictures().float(), costly=True)
        for name, numbers in of_model(found).items():
            if kind == torch.float32:
                assert numbers.dtype == torch.float32
            scale = expected[name].abs().max()
            torch.testing.assert_close(
                numbers.double(), expected[name], rtol=rtol, atol=float(rtol * scale), msg=name
            )


def test_a_layer_in_training_mode_is_refused():
    objective = vae()
    objective.module.train()
    with pytest.raises(RuntimeError, match="in training mode"):
        objective.parts(pictures())


# Bounds


@pytest.mark.parametrize("draws", [1, 3, 20])
def test_a_bound_consists_of_what_the_distributions_say(draws):
    objective, x = vae(draws=draws, seed=5), pictures()
    found, model = of_model(objective.parts(x, costly=True)), objective.module
    with torch.no_grad():
        mean, log_std = model.encode(x)
        q, p = Normal(mean, log_std.exp()), Normal(torch.zeros_like(mean), 1.0)
        rate, weights, likelihoods = kl_divergence(q, p).sum(1), [], []
        for k in range(max(16, draws)):
            eps = fixed_noise(5, f"draw={k}", model.latent_shape, x, "normal")
            z = mean + log_std.exp() * eps
            likelihoods.append(model.elbo(x, eps) + rate)  # log p(x|z) = ELBO + KL
            weights.append(likelihoods[-1] + (p.log_prob(z) - q.log_prob(z)).sum(1))
    expected = {
        "rate": rate,
        "entropy": q.entropy().sum(1),
        "cross-entropy": rate + q.entropy().sum(1),
        "distortion": -sum(likelihoods[:draws]) / draws,
        "iwae": -(torch.stack(weights[:16]) - weights[0]).exp().mean(0).log() - weights[0],
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **EXACT, msg=name)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("make", [vae, lambda **o: GaussianELBO(Diffusers(), **o)])
def test_rate_and_distortion_add_up_to_the_loss(make, draws, own):
    objective = make(draws=draws, seed=2)
    objective = objective.with_own_noise() if own else objective
    parts = objective.parts(pictures())
    torch.testing.assert_close(
        parts["rate"] + parts["distortion"], objective(pictures()).detach(), **EXACT
    )


def test_with_the_true_posterior_the_importance_weighted_bound_is_the_likelihood():
    model, x = Conjugate(), torch.cat([rows(2, 3.0), torch.full((1, 2), 1e4).double()])
    found = NegativeELBO(model).parts(x, costly=True)["iwae"]
    expected = -Normal(0.0, (1 + model.variance).sqrt()).log_prob(x).sum(1).detach()
    torch.testing.assert_close(found, expected, **EXACT)


def test_entropy_of_the_posterior_of_a_library():
    objective, x = GaussianELBO(Diffusers()), pictures()
    posterior = objective.module.encode(2 * x - 1).latent_dist
    q = Normal(posterior.mean, (0.5 * posterior.logvar).exp())
    found = objective.parts(x)
    torch.testing.assert_close(found["entropy"], q.entropy().sum(1).detach(), **EXACT)
    rate = kl_divergence(q, Normal(torch.zeros(4).double(), 1.0)).sum(1)
    torch.testing.assert_close(found["rate"], rate.detach(), **EXACT)


# Flows


def test_prior_and_determinant_of_a_flow_in_closed_form():
    model, x = Affine(), rows(3)
    found = NegativeLogLikelihood(model).parts(x)
    z = (x - model.mean) / model.log_std.exp()
    torch.testing.assert_close(
        found["prior"], -Normal(0.0, 1.0).log_prob(z).sum(1).detach(), **EXACT
    )
    torch.testing.assert_close(
        found["log-determinant"], torch.full((N,), -0.3, dtype=torch.float64), **EXACT
    )


def test_the_determinant_is_that_of_the_jacobian():
    objective, x = likelihood("nsf", (4,)), rows(4)
    found = objective.parts(x)["log-determinant"]
    for row, value in zip(x, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda one: objective.module.transform(one[None])[0][0], row
        )
        torch.testing.assert_close(-torch.linalg.slogdet(jacobian).logabsdet, value, **EXACT)


@pytest.mark.parametrize(
    ("objective", "x"),
    [
        (NegativeLogLikelihood(Affine()), rows(3)),
        (likelihood("nsf", (4,)), rows(4)),
        (likelihood("glow"), 0.01 + 0.98 * pictures()),
        (likelihood("glow", levels=256), pictures()),
    ],
)
def test_prior_and_determinant_add_up_to_the_loss(objective, x):
    constant = 0.0 if objective.levels is None else x[0].numel() * math.log(objective.levels)
    total = sum(of_model(objective.parts(x)).values()) + constant
    torch.testing.assert_close(total, objective(x).detach(), **EXACT)


def test_each_scale_has_its_prior():
    objective, x = likelihood("glow", levels=256), pictures()
    latents, _ = objective.module.transform(objective.dequantised(x))
    assert len(latents) == 2
    found = objective.parts(x)
    for k, z in enumerate(latents):
        expected = -Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1).detach()
        torch.testing.assert_close(found[f"prior/scale={k}"], expected, **EXACT)


class Shifted(Affine):
    """A flow that is told a shift."""

    def transform(self, x, shift):
        return super().transform(x - shift)

    def log_prob(self, x, shift):
        return super().log_prob(x - shift)


@pytest.mark.parametrize("shared", [True, False])
def test_a_flow_gets_its_context(shared):
    shift = rows(3, 2.0)
    shift = shift[0] if shared else shift
    objective = NegativeLogLikelihood(Shifted(), context=shift if shared else "c")
    x = rows(3) if shared else {"x": rows(3), "c": shift}
    plain = NegativeLogLikelihood(Affine()).parts(rows(3) - shift)
    for name, numbers in objective.parts(x).items():
        torch.testing.assert_close(numbers, plain[name], **EXACT, msg=name)


class Otherwise(nn.Module):
    """A model whose methods are called as those that tell parts, and are others."""

    latent_shape = (3,)

    def __init__(self, told):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3).double())
        self.told = told

    def log_prob(self, x):
        return -(self.scale * x).square().sum(1)

    def elbo(self, x, noise):
        return self.log_prob(x + noise)

    def transform(self, x):
        return self.told(x)

    encode = transform

    def log_likelihood(self, x):
        return x


@pytest.mark.parametrize(
    "told",
    [lambda x: 2 * x, lambda x: (x, x), lambda x: (x, x.sum()), lambda x: x[:0], lambda x: None],
)
@pytest.mark.parametrize("objective", [NegativeLogLikelihood, NegativeELBO])
def test_other_methods_of_these_names_tell_nothing(objective, told):
    assert objective(Otherwise(told)).parts(rows(3)) == {}


def test_a_method_that_takes_something_else_tells_nothing():
    model = Otherwise(None)
    model.transform = lambda: None
    assert NegativeLogLikelihood(model).parts(rows(3)) == {}


class Costs(Otherwise):
    """Has costs of positions in some form."""

    def position_costs(self, x):
        return self.told((self.scale * x).square())


@pytest.mark.parametrize(
    "told", [lambda c: c.sum(1), lambda c: [c], lambda c: c[:1], lambda c: c.sum()]
)
def test_costs_of_no_positions_tell_nothing(told):
    assert NegativeLogLikelihood(Costs(told)).parts(rows(3)) == {}
    model = Costs(told)
    model.position_costs = lambda x, t: x
    assert NegativeLogLikelihood(model).parts(rows(3)) == {}


def test_costs_of_the_positions_of_pictures_are_taken_all_together():
    flat = NegativeLogLikelihood(Costs(lambda c: c)).parts(rows(3))
    square = NegativeLogLikelihood(Costs(lambda c: c[:, None, :])).parts(rows(3))
    assert list(flat) == list(square) == POSITIONS
    for name, numbers in flat.items():
        torch.testing.assert_close(square[name], numbers, rtol=0, atol=0)


def test_an_encoder_of_log_variances_is_told(caplog):
    model = moved(build("vae", "tiny", SHAPE).double())
    NegativeELBO(model).parts(pictures())
    assert "add up to" not in caplog.text
    encode, likelihood = model.encode, model.log_likelihood

    def bound(x, noise):
        mean, log_std = encode(x)
        rate = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
        return likelihood(x, mean + log_std.exp() * noise) - rate

    def variances(x):
        mean, log_std = encode(x)
        return mean, 2 * log_std

    model.elbo, model.encode = bound, variances
    objective = NegativeELBO(model)
    for _ in range(2):
        objective.parts(pictures())
    assert caplog.text.count("rate and distortion add up to") == 1


class Improved(Conjugate):
    """Improves the mean of its posterior by a step along the gradient of the bound."""

    def elbo(self, x, noise):
        mean, log_std = self.encode(x)
        mean = mean.detach().requires_grad_()
        first = self.log_likelihood(x, mean + log_std.exp().detach() * noise).sum()
        (step,) = torch.autograd.grad(first, mean)
        return super().elbo(x, noise) + 0 * step.sum(1)


def test_a_bound_that_differentiates_has_parts_nevertheless(caplog):
    x = rows(2)
    found = NegativeELBO(Improved()).parts(x)
    for name, numbers in NegativeELBO(Conjugate()).parts(x).items():
        torch.testing.assert_close(found[name], numbers, rtol=0, atol=0)
    assert "add up to" not in caplog.text


def test_rounding_of_a_short_format_is_no_other_sum(caplog):
    model = Conjugate().bfloat16()
    NegativeELBO(model).parts(rows(2, 8).repeat(40, 1).bfloat16())
    assert "add up to" not in caplog.text


def test_a_module_called_transform_is_no_method():
    import zuko

    flow = zuko.flows.MAF(3, transforms=1, hidden_features=(8,)).double()
    assert isinstance(flow.transform, nn.Module)
    assert NegativeLogLikelihood(flow).parts(rows(3)) == {}


# Positions


def of_costs(costs):
    return {
        "worst-fifth": worst(costs),
        **{f"quantile-{q}%": np.percentile(costs, q) for q in (10, 50, 90, 100)},
    }


@pytest.mark.parametrize(("kind", "x"), [("pixelcnn", pictures()), ("wavenet", clips())])
def test_positions_of_autoregressive_models(kind, x):
    objective = likelihood(kind, tuple(x.shape[1:]))
    costs = objective.module.position_costs(x).detach()
    assert costs.shape == (N, x[0].numel())
    torch.testing.assert_close(costs.sum(1), objective(x).detach(), **EXACT)
    torch.testing.assert_close(-costs.view_as(x), objective.module.conditionals(x).detach())
    found = objective.parts(x)
    for i in range(N):
        for name, value in of_costs(costs[i].tolist()).items():
            assert found[name][i].item() == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("T", [1, 4, 5, 9, 10, 14, 15])
def test_a_fifth_is_rounded_down_and_one_at_least(T):
    class Costs(nn.Linear):
        def position_costs(self, x):
            return x

    x = rows(T)
    found = NegativeLogLikelihood(Costs(1, 1).double()).parts(x)["worst-fifth"]
    np.testing.assert_allclose(found, [worst(row.tolist()) for row in x], rtol=1e-12)


def test_entropy_of_clips_is_that_of_all_levels():
    objective, x = likelihood("wavenet", (40,)), clips()[:2, :4]
    found = objective.parts(x)["entropy"]
    for row, value in zip(x, found, strict=True):
        each = []
        for t in range(4):
            other = values_of(levels_of(row)).double().expand(LEVELS, -1).clone()
            other[:, t] = values_of(torch.arange(LEVELS)).double()
            cost = objective.module.position_costs(other)[:, t].detach()
            assert cost.neg().exp().sum().item() == pytest.approx(1, rel=1e-9)
            each.append((cost.neg().exp() * cost).sum().item())
        assert value.item() == pytest.approx(sum(each) / 4, rel=1e-9)


# Texts


def by_hand(losses, tables):
    """Return the parts of what tokens cost and of the costs of all tokens in their places."""
    entropies, scaled = excesses(losses, tables)
    return {
        "nll": np.mean(losses),
        "entropy": np.mean(entropies),
        "nll-entropy": np.mean(losses) - np.mean(entropies),
        "worst-fifth-standardised": worst(scaled),
        **of_costs(losses),
    }


def tables_of(logits, tokens):
    """Return losses and costs of all tokens, of logits (T, vocabulary) one row at a time."""
    tables = []
    for row in logits.tolist():
        total = math.log(sum(math.exp(value) for value in row))
        tables.append([total - value for value in row])
    return [table[token] for table, token in zip(tables, tokens, strict=True)], tables


def assert_texts(objective, batch, expected):
    found = objective.parts(batch)
    for i, each in enumerate(expected):
        for name, value in each.items():
            assert found[name][i].item() == pytest.approx(value, rel=1e-8), name
    lengths = objective.dimensions(batch)
    torch.testing.assert_close(found["nll"], objective(batch).detach() / lengths, rtol=1e-6, atol=0)


@pytest.mark.parametrize("at_once", [1, 8, 11, 1000])
def test_predictions_are_those_of_all_tokens_however_many_are_read_at_once(at_once, monkeypatch):
    monkeypatch.setattr(positions, "AT_ONCE", at_once)
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    logits[2, 1], logits[3] = -math.inf, 0.0  # a token that cannot come, all equally likely
    targets, before = torch.tensor([0, 3, 2, 1, 1]), logits.clone()
    told = positions.predicted(logits, targets)
    for t, (row, target) in enumerate(zip(logits.double(), targets, strict=True)):
        p = torch.distributions.Categorical(logits=row[row > -math.inf]).probs
        entropy = -(p * p.log()).sum()
        spread = (p * (-p.log() - entropy).square()).sum().sqrt()
        torch.testing.assert_close(told.loss[t], row.logsumexp(0) - row[target], **EXACT)
        torch.testing.assert_close(told.entropy[t], entropy, **EXACT)
        torch.testing.assert_close(told.deviation[t], spread, **EXACT)
    assert torch.equal(logits, before)


def test_of_no_predictions_nothing_is_told():
    told = positions.predicted(torch.empty(0, 4), torch.empty(0, dtype=torch.long))
    assert [len(numbers) for numbers in told] == [0, 0, 0]


@pytest.mark.parametrize("window", [None, 5])
def test_tokens_of_a_causal_model_are_those_of_loops(window):
    objective = causal(window=window)
    expected = [by_hand(*token_losses(objective, text)) for text in TEXTS]
    assert_texts(objective, objective.prepare(TEXTS), expected)


@pytest.mark.parametrize("positions", [None, 3])
@pytest.mark.parametrize("together", [1, 1 << 14])
def test_tokens_of_a_masked_model_are_masked_one_by_one(positions, together, monkeypatch):
    monkeypatch.setattr("fimetric.objectives.masked.TOGETHER", together)
    objective = masked(positions=positions)
    texts = [objective.tokenizer(text)["input_ids"] for text in TEXTS]
    expected = []
    for ids, places in zip(texts, places_of(objective, texts), strict=True):
        logits = []
        for place in places:
            changed = torch.tensor([ids])
            changed[0, place] = objective.mask
            with torch.no_grad():
                logits.append(objective.module(changed).logits[0, place])
        expected.append(by_hand(*tables_of(torch.stack(logits), [ids[p] for p in places])))
    assert_texts(objective, objective.prepare(TEXTS), expected)


def places_of(objective, texts):
    """Return the places of each text that are masked, those that are drawn as the loss says."""
    for ids in texts:
        places = [i for i, token in enumerate(ids) if token not in objective.special]
        if objective.positions is not None and objective.positions < len(places):
            T = len(places)
            like = torch.zeros(1, T)
            draw = fixed_noise(0, f"positions of {T}", (T,), like, "uniform")[0]
            places = sorted(places[i] for i in draw.argsort()[: objective.positions].tolist())
        yield places


def test_tokens_of_a_target_follow_its_source():
    objective, batch = translated()
    expected = []
    for text in TEXTS:
        target = objective.tokenizer(text)["input_ids"]
        source = objective.tokenizer(text.split()[0])["input_ids"]
        logits = []
        for t in range(len(target)):
            read = torch.tensor([[0, *target[:t]]])  # T5 starts with its padding
            with torch.no_grad():
                told = objective.module(
                    input_ids=torch.tensor([source]), decoder_input_ids=read
                ).logits
            logits.append(told[0, -1])
        expected.append(by_hand(*tables_of(torch.stack(logits), target)))
    assert_texts(objective, batch, expected)


@pytest.mark.parametrize("make", [causal, masked])
def test_padding_plays_no_part(make):
    objective = make()
    batch = objective.prepare(TEXTS)
    found, other = objective.parts(batch), objective.parts(padded_otherwise(batch))
    for name, numbers in found.items():
        torch.testing.assert_close(other[name], numbers, **EXACT, msg=name)


def test_an_encoding_of_the_library_is_a_batch():
    objective = causal()
    given = objective.tokenizer(TEXTS, padding=True, return_tensors="pt")
    given.pop("token_type_ids", None)
    expected = objective.parts(objective.prepare(TEXTS))
    for name, numbers in objective.parts(given).items():
        torch.testing.assert_close(numbers, expected[name], **EXACT, msg=name)


def test_a_single_token_where_all_are_equally_likely():
    class Alike(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.full((7,), 0.3))

        def forward(self, tokens):
            return self.logits.expand(*tokens.shape, -1)

    found = CausalLM(Alike()).parts(torch.tensor([[0, 1]]))
    assert found["worst-fifth-standardised"].item() == pytest.approx(0, abs=1e-6)
    for name in ("nll", "entropy", *POSITIONS):
        assert found[name].item() == pytest.approx(math.log(7)), name


# Noise levels


@pytest.mark.parametrize("loss", ["l1", "l2"])
@pytest.mark.parametrize("draws", [1, 3])
def test_losses_at_ten_noise_levels_are_those_of_a_loop(loss, draws):
    objective, x = gaussian(loss=loss, draws=draws, seed=7, timesteps=(5,)), small_images()
    found = of_model(objective.parts(x, costly=True))
    assert list(found) == [f"loss/t={t}" for t in SCALES]
    for t in SCALES:
        a = abar(objective, t)
        for i, x_0 in enumerate(centred(x)):
            sizes = []
            for k in range(draws):
                eps = noise(f"t={t}/draw={k}", 7)
                error = eps - eps_at(np.sqrt(a) * x_0 + np.sqrt(1 - a) * eps, a)
                sizes.append((error**2).sum() if loss == "l2" else np.abs(error).sum())
            assert found[f"loss/t={t}"][i].item() == pytest.approx(np.mean(sizes), rel=1e-8)


def test_losses_of_flow_matching_are_in_proportion_to_its_schedule():
    objective, x = velocity(seed=3), small_images()
    found = of_model(objective.parts(x, costly=True))
    assert list(found) == [f"loss/t={t}" for t in (0, 1, 3, 10, 20, 30, 40, 50, 60, 80)]
    for name, numbers in found.items():
        eps = fixed_noise(3, f"{name.removeprefix('loss/')}/draw=0", x.shape[1:], x, "normal")
        expected = (eps - (2 * x - 1)).square().flatten(1).sum(1)
        torch.testing.assert_close(numbers, expected, **EXACT)


def test_of_a_short_schedule_there_are_fewer_and_the_objective_stays_as_it_is():
    objective = gaussian(length=4, timesteps=(1,))
    assert list(of_model(objective.parts(small_images(), costly=True))) == [
        f"loss/t={t}" for t in range(4)
    ]
    assert objective.timesteps == (1,)


# Codes


def packed(x):
    """Return the bytes of the files of pictures, by compressor."""
    found = {"png": [], "jpeg2000": [], "zlib": []}
    for levels in (255 * x).round().to(torch.uint8).numpy():
        shown = levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0).copy()
        for name, options in (("png", {"optimize": True}), ("jpeg2000", {"no_jp2": True})):
            out = io.BytesIO()
            Image.fromarray(shown).save(out, name, **options)
            found[name].append(len(out.getvalue()))
        found["zlib"].append(len(zlib.compress(levels.tobytes(), 9)))
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", [lambda x: x, lambda x: {"x": x}])
def test_codes_of_pictures_are_their_files(channels, form):
    x = torch.cat([pictures()] * channels, 1)
    objective = plain()
    objective.module.bfloat16()  # a format that knows no grid: codes are of what was given
    found = objective.parts(form(x.float()))
    for name, sizes in packed(x).items():
        assert len(set(sizes)) > 2
        if name != "jpeg2000" or features.check("jpg_2000"):
            expected = [8 * math.log(2) * size / x[0].numel() for size in sizes]
            np.testing.assert_allclose(found.pop(f"code/{name}"), expected, rtol=1e-12)
    assert not found


def test_a_picture_of_other_values_has_nan_and_the_others_their_code():
    x, objective = pictures(), plain()
    expected = objective.parts(x)
    x[1] = (x[1] + 0.4 / 255).clamp_max(1)  # off the grid: the nearest levels
    x[3, 0, 2, 2] = -1 / 255
    x[4, 0, 2, 2] = torch.nan
    for name, numbers in objective.parts(x).items():
        assert numbers[[3, 4]].isnan().all()
        torch.testing.assert_close(numbers[:3], expected[name][:3])
    assert objective.parts(2 * x - 1).keys() == expected.keys()


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 2, 4, 4),
        torch.zeros(2, 4, 4),
        torch.zeros(2, 3),
        torch.zeros(2, 1, 4, 4, 4),
        torch.zeros(2, 1, 4, 4, dtype=torch.int64),
        torch.zeros(2, 1, 0, 4),
    ],
)
def test_what_is_no_picture_by_its_shape_has_no_code(x):
    assert plain().parts(x) == {}


@pytest.mark.parametrize("make", [causal, lambda: causal(window=5), masked, translated])
def test_the_code_of_a_text_is_that_of_what_is_read(make):
    objective = make()
    objective, batch = objective if isinstance(objective, tuple) else (objective, None)
    batch = objective.prepare(TEXTS) if batch is None else batch
    found = objective.parts(batch)["code/zlib"]
    cut = getattr(objective, "window", None)
    tokens = objective.dimensions(batch).tolist()
    for text, value, count in zip(TEXTS, found.tolist(), tokens, strict=True):
        ids = objective.tokenizer(text)["input_ids"][:cut]
        read = objective.tokenizer.decode(ids, skip_special_tokens=True)
        assert text.startswith(read) and (cut or read == text)
        expected = 8 * math.log(2) * len(zlib.compress(read.encode()))
        assert value == pytest.approx(expected / count, rel=1e-12)


def test_token_ids_alone_have_no_code():
    objective = CausalLM(causal().module)
    batch = causal().prepare(TEXTS)
    assert "code/zlib" not in objective.parts(batch)
    with pytest.raises(TypeError, match=r"do not tell the texts: CausalLM\(model, tokenizer"):
        objective.strings(batch)
