"""Projections against autograd's gradients and the written out matrix of signs."""

import itertools

import pytest
import torch
from test_contributions import GEOMETRIES
from test_exactness import made
from torch import Tensor, nn
from zoo import ZOO

from fimetric.gradients import GradientNorms, projection
from fimetric.gradients.contributions import (
    Blocks,
    Dense,
    Factors,
    Geometry,
    Patches,
    Rows,
    Stack,
    Sum,
    add,
)
from fimetric.gradients.projection import Signs, _by_factors, _by_matrix, draw_signs, project
from fimetric.gradients.reference import gradients_one_by_one

K, SEED = 7, 3


def written_out(signs: Signs) -> Tensor:
    """Return what projects the flat gradient, (k, numel)."""
    return torch.stack([torch.kron(a, b) for a, b in zip(*signs, strict=True)]).double()


def flat(g: Tensor) -> Tensor:
    g = torch.view_as_real(g) if g.is_complex() else g
    return g.reshape(len(g), g[0].numel())


@pytest.mark.parametrize("name", ZOO)
def test_equals_the_written_out_projection_of_autograd(name):
    module, batch, losses = made(name, torch.float64)
    norms = GradientNorms(module)
    named = {key: p for key, p in module.named_parameters() if p.requires_grad}
    found = gradients_one_by_one(losses(batch), list(named.values()))
    expected = torch.zeros(len(batch), K, dtype=torch.float64)
    for g, (key, p) in zip(found, named.items(), strict=True):
        if g is not None:
            expected += flat(g) @ written_out(draw_signs(SEED, key, K, p)).T / K**0.5
    for _ in range(2):  # the plan is made, then reused
        projected = norms.project(losses(batch), K, SEED)
        torch.testing.assert_close(projected, expected, rtol=1e-8, atol=1e-8 * expected.norm())
        assert not projected.requires_grad


def kinds():
    """Return a contribution of every kind, by name."""
    factors = Factors(torch.randn(3, 5, 4), torch.randn(3, 5, 6))
    rows = Rows(torch.randint(4, (3, 5)), torch.randn(3, 5, 6), 4)
    return {
        "factors": factors,
        "one position": Factors(factors.u[:, :1], factors.v[:, :1]),
        "many positions": Factors(torch.randn(3, 900, 4), torch.randn(3, 900, 6)),
        "rows": rows,
        "few rows": Rows(rows.index[:, :2], rows.v[:, :2], 4),
        "used twice": add([factors, factors]),
        "tied": add([factors, rows, rows]),
        "dense and factors": add([Dense(torch.randn(3, 4, 6)), factors]),
        "dense": Dense(torch.randn(3, 4, 2, 3)),
        "scalar": Dense(torch.randn(3)),
        "no entries": Dense(torch.randn(3, 0)),
        "complex": Dense(torch.randn(3, 4, 6, dtype=torch.complex64)),
        "sum": Sum(torch.randn(3, 2, 4, 6), (1,), (4, 6)),
        "vector": Sum(torch.randn(3, 2, 4), (1,), (4,)),
        "blocks": Blocks(Factors(torch.randn(6, 5, 4), torch.randn(6, 5, 3)), 3, (2, 4, 3)),
        "stack": Stack([factors, factors]),
    }


@pytest.mark.parametrize("name", kinds())
@pytest.mark.parametrize("k", [1, 5, 400])
def test_every_kind_gives_what_the_written_out_gradient_gives(name, k):
    contribution = kinds()[name]
    dense = contribution.dense()
    signs = draw_signs(SEED, name, k, dense[0])
    found, expected = (
        project(contribution, signs),
        flat(dense.cdouble() if dense.is_complex() else dense.double()) @ written_out(signs).T,
    )
    assert found.shape == (3, k) and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("form", [project, _by_factors, _by_matrix])
def test_every_form_of_a_convolution(geometry, form):
    dims, images, O, I, kernel, *geometry = geometry
    x = torch.randn(3, images, I, *(8, 7, 6)[:dims])
    function = getattr(torch.nn.functional, f"conv{dims}d")
    y = function(x.flatten(0, 1), torch.zeros(O, I, *kernel), None, *geometry)
    g = torch.randn(3, images, *y.shape[1:])
    patches = Patches(x, g, torch.Size((O, I, *kernel)), Geometry(*geometry))
    dense = patches.dense().double()
    signs = draw_signs(SEED, "", 5, dense[0])
    expected = flat(dense) @ written_out(signs).T
    torch.testing.assert_close(form(patches, signs).double(), expected, rtol=1e-4, atol=1e-3)


def test_gradients_are_formed_where_they_are_smaller(monkeypatch):
    monkeypatch.setattr(projection, "_by_factors", lambda *_: pytest.fail("the long way"))
    long = Factors(torch.randn(3, 900, 4), torch.randn(3, 900, 6))
    for contribution in (long, Rows(torch.randint(4, (3, 900)), long.v, 4)):
        project(contribution, draw_signs(0, "", 9, torch.zeros(4, 6)))


def test_gradients_are_not_formed_where_factors_are_smaller(monkeypatch):
    for kind in (Factors, Rows, Patches):
        monkeypatch.setattr(kind, "dense", lambda _: pytest.fail("the gradient was formed"))
    factors = Factors(torch.randn(3, 5, 40), torch.randn(3, 5, 60))
    rows = Rows(torch.randint(40, (3, 5)), torch.randn(3, 5, 60), 40)
    project(add([factors, rows]), draw_signs(0, "", 9, torch.zeros(40, 60)))
    x, g = torch.randn(3, 1, 60, 3, 3), torch.randn(3, 1, 40, 2, 2)
    geometry = Geometry((1, 1), (0, 0), (1, 1))
    shape = torch.Size((40, 60, 2, 2))
    project(Patches(x, g, shape, geometry), draw_signs(0, "", 9, torch.zeros(shape)))


def two_layers(kind=torch.float64):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(kind)
    return module, lambda x: module(x.to(kind)).pow(3).sum((1, 2))


def test_a_sample_has_the_same_projection_anywhere():
    module, losses = two_layers()
    norms, x = GradientNorms(module), torch.randn(9, 5, 3)
    together = norms.project(losses(x), 50, SEED)
    order = torch.randperm(9)
    apart = torch.cat([norms.project(losses(part), 50, SEED) for part in x[order].split([1, 2, 6])])
    torch.testing.assert_close(apart, together[order], rtol=1e-10, atol=1e-10)
    torch.rand(3)
    again = GradientNorms(list(module.named_parameters())[::-1]).project(losses(x), 50, SEED)
    torch.testing.assert_close(again, together, rtol=1e-10, atol=1e-10)


def test_number_formats_differ_by_their_rounding_alone():
    x = torch.randn(9, 5, 3)
    found = {}
    for kind in (torch.float64, torch.float32, torch.bfloat16):
        module, losses = two_layers(kind)
        found[kind] = GradientNorms(module).project(losses(x), 50, SEED)
    exact, size = found[torch.float64], found[torch.float64].norm(dim=1, keepdim=True)
    assert found[torch.float32].dtype == found[torch.bfloat16].dtype == torch.float32
    assert ((found[torch.float32] - exact).norm(dim=1, keepdim=True) < 1e-5 * size).all()
    assert ((found[torch.bfloat16] - exact).norm(dim=1, keepdim=True) < 0.05 * size).all()


def test_every_seed_and_tensor_has_signs_of_its_own():
    like = torch.zeros(200, 200)
    draws = [draw_signs(0, "a", 9, like), draw_signs(1, "a", 9, like), draw_signs(0, "b", 9, like)]
    sides = [side.flatten() for signs in draws for side in signs]
    for side in sides:
        assert set(side.tolist()) == {-1.0, 1.0}
    for a, b in itertools.combinations(sides, 2):
        assert abs(float((a * b).mean())) < 5 / 1800**0.5


# The gradients of a linear layer at T positions, and the exact variance of one coordinate's square.


def fourth_moment(g: Tensor) -> float:
    """Return the mean of (a^T G b)^4 over all signs."""
    left, right = (torch.tensor(list(itertools.product((-1.0, 1.0), repeat=n))) for n in g.shape)
    return float((left.double() @ g @ right.double().T).pow(4).mean())


@pytest.mark.parametrize("positions", [1, 40])
def test_inner_products_are_right_in_the_mean_and_vary_as_promised(positions):
    module = nn.Linear(8, 7, bias=False).double()
    x = torch.randn(2, positions, 8, dtype=torch.float64)
    losses = lambda: module(x).pow(3).sum((1, 2))  # noqa: E731
    norms, k = GradientNorms(module), 40_000
    g = gradients_one_by_one(losses(), [module.weight])[0]
    p = norms.project(losses(), k, SEED) * k**0.5  # independent coordinates
    products = p.T.unsqueeze(1) * p.T.unsqueeze(2)  # (k, 2, 2)
    gram, error = norms.gram(losses())[0], products.std(0) / k**0.5
    assert ((products.mean(0) - gram).abs() < 5 * error).all()
    for n in range(2):
        square = float(g[n].square().sum())
        variance = fourth_moment(g[n]) - square**2
        assert abs(float(p[n].pow(2).var()) - variance) < 0.1 * variance
        ranks = float((g[n].T @ g[n]).square().sum())
        assert variance <= 2 * square**2 + 6 * ranks
        independent = 2 * square**2 - 2 * float(g[n].pow(4).sum())  # a sign for each entry
        assert variance > (2 if positions == 1 else 1) * independent


def test_layers_are_projected_independently():
    module, losses = two_layers()
    norms, x = GradientNorms(module), torch.randn(4, 5, 3)
    gram = norms.gram(losses(x)).sum(0)
    found = [norms.project(losses(x), 2_000, seed) for seed in range(20)]
    products = torch.stack([p @ p.T for p in found])
    assert ((products.mean(0) - gram).abs() < 5 * products.std(0) / 20**0.5).all()
    size = gram.diagonal().sqrt()
    assert (products.std(0) < 1.5 * (9 / 2_000) ** 0.5 * size * size[:, None]).all()


def test_a_layer_that_was_zero_in_the_first_batch_is_not_counted_twice():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    nn.init.zeros_(module[2].weight)
    norms, x = GradientNorms(module), torch.randn(5, 3, dtype=torch.float64)
    losses = lambda: (module(x) - 1).square().sum(1)  # noqa: E731
    norms.project(losses(), K, SEED)
    nn.init.normal_(module[2].weight)
    fresh = GradientNorms(module).project(losses(), K, SEED)
    torch.testing.assert_close(norms.project(losses(), K, SEED), fresh)


def test_unused_tensors_and_zeros_add_nothing():
    module = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    x = torch.randn(4, 3)
    losses = lambda: module["used"](x).square().sum(1) * torch.tensor([1.0, 0, 1, 1])  # noqa: E731
    both = GradientNorms(module).project(losses(), K, SEED)
    named = [(f"used.{key}", p) for key, p in module["used"].named_parameters()]
    torch.testing.assert_close(both, GradientNorms(named).project(losses(), K, SEED))
    assert not both[1].any()


def test_a_strange_sample_spoils_no_other():
    module, losses = two_layers(torch.float32)
    norms, x = GradientNorms(module), torch.randn(5, 5, 3)
    expected = norms.project(losses(x), K, SEED)
    x[2, 0, 0] = torch.nan
    found = norms.project(losses(x), K, SEED)
    assert not found[2].isfinite().any()
    torch.testing.assert_close(found[[0, 1, 3, 4]], expected[[0, 1, 3, 4]])


def test_the_graph_is_kept_only_where_asked():
    module, losses = two_layers()
    norms, found = GradientNorms(module), losses(torch.randn(3, 5, 3))
    first = norms.project(found, K, SEED, retain_graph=True)
    assert torch.equal(norms.project(found, K, SEED), first)
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        norms.project(found, K, SEED)
