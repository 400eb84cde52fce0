"""A distribution over mu-law levels, causal, from which samples are drawn as it says."""

import math

import numpy as np
import pytest
import torch
from tests.models.single_samples import assert_norms_are_those_of_single_samples

import fimetric as fm
from fimetric.claims.draws import draw
from fimetric.models import build
from fimetric.models.wavenet import LEVELS, WaveNet, WaveNetConfig, levels_of, values_of


def perturbed(length: int, **sizes: int) -> WaveNet:
    """Return a model whose biases and weights are all far from where they begin."""
    config = WaveNetConfig(**{"stacks": 1, "depth": 3, "hidden": 4, "skip": 5, **sizes})
    model = build("wavenet", config, (length,)).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator).double()
    return model


def sounds(n: int, length: int, seed: int = 2) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, length, generator=random).double() - 1


def level_of(value: float) -> int:
    """Return the level by the formula of the paper, a number at a time."""
    size = math.log(1 + 255 * abs(value)) / math.log(256)
    return math.floor((math.copysign(size, value) + 1) / 2 * 255 + 0.5)


def test_levels_are_those_of_the_law_and_come_back_of_their_values():
    x = sounds(1, 500)[0]
    assert levels_of(x).tolist() == [level_of(v) for v in x.tolist()]
    every = torch.arange(256)
    assert torch.equal(levels_of(values_of(every)), every)
    ends = torch.tensor([-1.0, 0.0, 1.0, -3.0, 3.0])  # the last two are clipped
    assert levels_of(ends).tolist() == [0, 128, 255, 0, 255]


def log_probabilities(model: WaveNet, levels: list[int]) -> np.ndarray:
    """Return log P (256,) of the level that comes after these, by loops over layers and taps."""

    def weights(conv):
        return conv.weight.detach().numpy(), conv.bias.detach().numpy()

    def enter(level):
        w, b = weights(model.enter)
        return b + (0 if level is None else w[:, level, 0])

    seen = [enter(level) for level in [None, *levels]]
    skipped = np.zeros(model.config.skip)
    for layer in model.layers:
        w, b = weights(layer.gated)
        after = []
        for t, h in enumerate(seen):
            past = seen[t - layer.dilation] if t >= layer.dilation else np.zeros_like(h)
            both = w[:, :, 0] @ past + w[:, :, 1] @ h + b
            value, gate = np.split(both, 2)
            found = np.tanh(value) / (1 + np.exp(-gate))
            if layer.residual is not None:
                w_out, b_out = weights(layer.residual)
                h = h + w_out[:, :, 0] @ found + b_out
            after.append(h)
        w_skip, b_skip = weights(layer.skip)
        skipped += w_skip[:, :, 0] @ found + b_skip
        seen = after
    for conv in (model.between, model.head):
        w, b = weights(conv)
        skipped = w[:, :, 0] @ np.maximum(skipped, 0) + b
    return skipped - np.log(np.exp(skipped).sum())


def test_conditionals_are_those_of_a_loop():
    model, x = perturbed(12, stacks=2, depth=2), sounds(1, 12)
    levels = levels_of(x)[0].tolist()
    expected = [log_probabilities(model, levels[:t])[levels[t]] for t in range(12)]
    found = model.conditionals(x)[0].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # float64, sums in another order


@pytest.mark.parametrize("sizes", [{}, {"stacks": 2, "depth": 2}])
def test_a_value_changes_no_conditional_before_it_and_those_that_see_it(sizes):
    model, x = perturbed(20, **sizes), sounds(1, 20)
    expected = model.conditionals(x)[0]
    depth, stacks = model.config.depth, model.config.stacks
    field = 1 + stacks * (2**depth - 1)
    for t in (0, 3, 19):
        other = x.clone()
        other[0, t] = -x[0, t]
        changed = model.conditionals(other)[0] != expected
        assert not changed[:t].any() and changed[t : t + 1 + field].all()
        assert not changed[t + 1 + field :].any()


def test_small_sees_a_thousand_values_with_a_tenth_of_a_million_parameters():
    model = build("wavenet", "small", (2048,))
    assert 1 + model.config.stacks * (2**model.config.depth - 1) == 1024
    assert 90_000 < sum(p.numel() for p in model.parameters()) < 110_000


@pytest.mark.parametrize("length", [1, 2])
def test_probabilities_of_all_clips_sum_to_one(length):
    model = perturbed(length)
    every = torch.cartesian_prod(*[values_of(torch.arange(256)).double()] * length)
    with torch.no_grad():
        log_p = torch.cat([model.log_prob(part.reshape(-1, length)) for part in every.split(4096)])
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-10)


def test_bits_per_dim_and_losses_are_the_log_probability():
    model, x = perturbed(9), sounds(3, 9)
    log_p = model.log_prob(x)
    torch.testing.assert_close(model.conditionals(x).sum(1), log_p)
    assert torch.equal(model.training_losses(x, None), -log_p)
    torch.testing.assert_close(model.bits_per_dim(x, None), -log_p / (9 * math.log(2)))


def test_it_begins_with_the_shares_of_the_levels():
    model = build("wavenet", "tiny", (500,)).double()
    x = 0.1 * sounds(20, 500)
    with torch.no_grad():
        model.head.weight.zero_()
        model.initialise(x)
    counts = np.bincount(levels_of(x).flatten().numpy(), minlength=256) + 1
    shares = counts / counts.sum()
    expected = -np.log2(shares[levels_of(x).numpy()]).mean(1)
    found = model.bits_per_dim(x, None).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # biases are float32
    assert found.mean() < 8


def test_norms_are_those_of_single_samples(caplog):
    model, x = perturbed(16), sounds(5, 16)
    objective = fm.objectives.standard_objective(model)
    found = assert_norms_are_those_of_single_samples(
        objective, lambda v: -model.log_prob(v), x, caplog
    )
    assert (found > 0).all()  # no parameter is dead


def test_features_and_the_model_agree_on_bits_per_dimension():
    model, x = build("wavenet", "tiny", (64,)).eval(), sounds(30, 64).float()
    found = fm.extract(fm.objectives.standard_objective(model), x, progress=False)
    expected = model.bits_per_dim(x, None).detach().double().numpy()
    assert found.bits_per_dim == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sizes", [{}, {"stacks": 2, "depth": 2}])
def test_each_value_is_drawn_from_its_conditional(sizes):
    """A draw is the level where the distribution function passes a uniform."""
    model = perturbed(18, **sizes)
    x = model.sample(4, torch.Generator().manual_seed(3)).double()
    uniform = torch.rand(4, 18, generator=torch.Generator().manual_seed(3)).double()
    levels = levels_of(x)
    assert len(levels.unique()) > 20
    for n, t in [(0, 0), (1, 1), (2, 7), (3, 17)]:
        below = np.exp(log_probabilities(model, levels[n, :t].tolist())).cumsum()
        level, u = int(levels[n, t]), float(uniform[n, t])
        assert level == 0 or below[level - 1] <= u + 1e-9
        assert level == LEVELS - 1 or u <= below[level] + 1e-9


def test_draws_for_claims_are_the_values_themselves(tmp_path):
    """Sounds are not rounded to 8 bits of [0, 1], as images are."""
    model = build("wavenet", "tiny", (8,)).eval()
    objective = fm.objectives.standard_objective(model)
    found = draw(model, objective, 5, tmp_path, progress=False)
    x = found.samples.tensor()
    assert x.shape == (5, 8) and x.min() < 0
    assert torch.equal(values_of(levels_of(x)), x)
    assert torch.equal(found.objective(x), objective(x))
