"""Noise is a function of the seed and the name alone."""

from contextlib import contextmanager

import pytest
import torch
from tests.models.examples import example

import fimetric as fm
from fimetric.noise import fixed_noise, own_noise

SHAPE = (3, 4)


def noise(n: int = 5, seed: int = 0, name: str = "t=0/draw=0", kind: str = "normal", **like):
    return fixed_noise(seed, name, SHAPE, torch.zeros(n, 9, **like), kind)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_same_for_all_samples_whatever_the_batch(kind):
    found = noise(5, kind=kind)
    assert found.shape == (5, *SHAPE)
    assert all(torch.equal(row, found[0]) for row in found)
    assert torch.equal(noise(1, kind=kind)[0], found[0])
    assert torch.equal(noise(64, kind=kind)[63], found[0])
    assert len(found[0].unique()) == 12


def test_number_formats_differ_by_their_rounding_alone():
    single, double, half = (noise(dtype=d) for d in (torch.float32, torch.float64, torch.bfloat16))
    assert double.dtype == torch.float64 and torch.equal(double, single.double())
    assert torch.equal(half, single.bfloat16())


def test_every_seed_view_and_kind_has_its_own():
    draws = [noise(), noise(seed=1), noise(name="t=0/draw=1"), noise(kind="uniform")]
    assert len({draw[0, 0, 0].item() for draw in draws}) == 4
    assert not torch.equal(noise(seed=1, name="1"), noise(seed=11, name=""))


def test_global_generator_is_neither_read_nor_moved():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, state = noise(), torch.get_rng_state()
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(1)
        assert torch.equal(noise(), first)


def test_kinds_are_distributed_as_they_are_called():
    like = torch.zeros(1, dtype=torch.float64)
    normal = fixed_noise(0, "", (100_000,), like, "normal")[0]
    uniform = fixed_noise(0, "", (100_000,), like, "uniform")[0]
    # five standard errors of 100,000 draws
    assert abs(normal.mean()) < 0.016 and abs(normal.var() - 1) < 0.023
    assert abs(uniform.mean() - 0.5) < 0.0046 and uniform.min() >= 0 and uniform.max() < 1
    assert uniform.min() < 1e-3 and uniform.max() > 1 - 1e-3


def test_draw_is_the_same_in_every_release():
    # a saved detector is worth nothing if these numbers change
    torch.testing.assert_close(noise(1)[0, 0, 0].item(), -1.0883582830429077, rtol=1e-6, atol=0)


def test_noise_of_ones_own_depends_on_the_sample_alone():
    x = torch.rand(4, 3)
    first = own_noise(1, "view", (2, 2), x, "normal")
    assert len(first.flatten().unique()) == first.numel()
    assert own_noise(1, "view", (2, 2), x.flip(0), "normal").flip(0).equal(first)
    assert own_noise(1, "view", (2, 2), x[2:3].double(), "normal").float().equal(first[2:3])
    assert not own_noise(2, "view", (2, 2), x, "normal").equal(first)


def test_an_objective_with_noise_of_its_own_averages_over_it():
    model = fm.models.build("vae", "tiny", (1, 8, 8)).eval()
    objective = fm.objectives.NegativeELBO(model)
    own = objective.with_own_noise()
    x = torch.rand(5, 1, 8, 8)
    assert not torch.allclose(own(x), objective(x))
    assert own.describe() != objective.describe()
    assert torch.allclose(own(x[3:4]), own(x)[3:4], rtol=1e-4)
    assert not objective.own_noise


@contextmanager
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("draw", [fixed_noise, own_noise])
def test_draw_is_the_same_whatever_torch_makes_by_default(draw, kind):
    like = torch.zeros(2, 4)
    expected = draw(0, "view", (5, 5), like, kind)
    with float64_by_default():
        assert torch.equal(draw(0, "view", (5, 5), like, kind), expected)


@pytest.mark.parametrize("name", fm.models.FAMILIES)
def test_models_draw_the_same_whatever_torch_makes_by_default(name):
    samples = example(name)
    model = fm.models.build_for(name, "tiny", samples).eval()
    x = model.taken(samples, range(2))

    def draws():
        generator = torch.Generator().manual_seed(0)
        return model.training_losses(x, generator), model.sample(2, generator)

    with torch.no_grad():
        expected = draws()
        with float64_by_default():
            found = draws()
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype != torch.float64 and torch.equal(a, b)
