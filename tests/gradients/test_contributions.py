"""Every form of a contribution's norm against the gradients written out in float64."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fimetric.gradients.columns import Columns
from fimetric.gradients.contributions import (
    Blocks,
    Dense,
    Factors,
    Geometry,
    Patches,
    Rows,
    add,
    base,
    costs,
    gram,
)
from fimetric.gradients.contributions.factors import Factors as FactorsClass
from fimetric.gradients.contributions.patches import norms_by_groups, norms_unfolded
from fimetric.gradients.contributions.pixels import norms_by_pixels

FLOAT32 = 1e-4  # promised between batch sizes and forms


def exact(contribution) -> Tensor:
    return contribution.dense().double().flatten(1).square().sum(1)


def weight_gradients(x, g, shape, geometry) -> Tensor:
    """By autograd, sample by sample, in float64."""
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(shape) - 2]
    weight = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    found = []
    for images, gradients in zip(x.double(), g.double(), strict=True):
        y = function(images, weight, None, *geometry)
        found.append(torch.autograd.grad(y, weight, gradients)[0])
    return torch.stack(found)


GEOMETRIES = [
    (2, 2, 8, 16, (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 1, 8, 16, (4, 4), (2, 2), (1, 1), (1, 1)),
    (2, 2, 16, 17, (3, 2), (2, 1), (1, 0), (1, 2)),
    (2, 1, 3, 16, (1, 1), (2, 2), (0, 0), (1, 1)),
    (2, 1, 5, 2, (3, 3), (1, 1), (2, 2), (1, 1)),
    (1, 2, 4, 20, (5,), (3,), (2,), (1,)),
    (1, 1, 4, 3, (2,), (1,), (4,), (3,)),
    (3, 2, 8, 16, (2, 1, 3), (1, 2, 1), (0, 1, 1), (2, 1, 1)),
]


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_every_form_of_a_convolution(case, samples):
    dims, images, O, I, kernel, *geometry = case
    size = (8, 7, 6)[:dims]
    shape = torch.Size((O, I, *kernel))
    x = torch.randn(samples, images, I, *size)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    y = function(x.flatten(0, 1), torch.zeros(shape), None, *geometry)
    g = torch.randn(samples, images, *y.shape[1:])
    expected = weight_gradients(x, g, shape, geometry)
    patches = Patches(x, g, shape, Geometry(*geometry))
    torch.testing.assert_close(patches.dense().double(), expected, rtol=1e-4, atol=1e-4)
    product = torch.einsum("nto,nti->noi", patches.u, patches.v).view_as(expected)
    torch.testing.assert_close(product.double(), expected, rtol=1e-4, atol=1e-4)
    norms = expected.flatten(1).square().sum(1)
    for form in (norms_by_pixels, norms_by_groups, norms_unfolded, Patches.squared_norms):
        torch.testing.assert_close(form(patches).double(), norms, rtol=FLOAT32, atol=0)
    assert (patches.scale() >= norms.sqrt() * (1 - 1e-6)).all()
    chosen = patches[torch.tensor([samples - 1])]
    torch.testing.assert_close(chosen.dense(), patches.dense()[-1:])


def test_all_forms_of_convolutions_are_chosen_somewhere(monkeypatch):
    taken = []
    for form in ("norms_by_pixels", "norms_by_groups", "norms_unfolded"):
        monkeypatch.setattr(
            f"fimetric.gradients.contributions.patches.{form}",
            lambda patches, form=form: taken.append(form) or torch.zeros(len(patches)),
        )
    for O, I, side in [(128, 128, 8), (32, 32, 32), (3, 32, 32)]:
        x, g = torch.randn(9, 1, I, side, side), torch.randn(9, 1, O, side, side)
        Patches(x, g, torch.Size((O, I, 3, 3)), Geometry((1, 1), (1, 1), (1, 1))).squared_norms()
    assert taken == ["norms_by_pixels", "norms_by_groups", "norms_unfolded"]


@pytest.mark.parametrize("T", [1, 2, 5, 64, 65, 130])
@pytest.mark.parametrize(("O", "I"), [(3, 4), (300, 200)])
def test_every_form_of_a_matrix(T, O, I):
    factors = Factors(torch.randn(3, T, O), torch.randn(3, T, I))
    expected = exact(Factors(factors.u.double(), factors.v.double()))
    by_gram = gram.norms_by_gram(factors, lambda chosen: [chosen])
    for norms in (by_gram, factors.squared_norms(), FactorsClass.__base__.quick_norms(factors)):
        torch.testing.assert_close(norms.double(), expected, rtol=FLOAT32, atol=0)
    torch.testing.assert_close(factors.transposed().squared_norms(), factors.squared_norms())


@pytest.mark.parametrize("T", [2, 7, 130])
def test_a_tied_embedding_and_head(T):
    index = torch.randint(500, (3, T))
    index[:, -1] = index[:, 0]  # a token twice
    rows = Rows(index, torch.randn(3, T, 300), 500)
    head = Factors(torch.randn(3, T + 1, 500), torch.randn(3, T + 1, 300))
    other = Rows(torch.randint(500, (3, T)), torch.randn(3, T, 300), 500)
    for parts in ([rows, head], [head, rows, other], [rows, other]):
        total = add(parts)
        expected = sum(part.dense().double() for part in parts).flatten(1).square().sum(1)
        by_gram = gram.norms_by_gram(total, lambda chosen: chosen.parts)
        for norms in (by_gram, total.squared_norms()):
            torch.testing.assert_close(norms.double(), expected, rtol=FLOAT32, atol=0)


def test_blocks_are_cut_by_samples():
    factors = Factors(torch.randn(6, 4, 3), torch.randn(6, 4, 2))
    blocks = Blocks(factors, 2, torch.Size((3, 3, 2)))
    expected = exact(factors).view(2, 3).sum(1)
    torch.testing.assert_close(blocks.squared_norms(), expected.float())
    torch.testing.assert_close(blocks.dense(), factors.dense().view(2, 3, 3, 2))
    for chosen in (slice(1, 2), torch.tensor([1])):
        torch.testing.assert_close(blocks[chosen].dense(), blocks.dense()[1:])


def cancelling(T, features, rest):
    """Pairs of positions with opposite gradients on inputs that differ by ``rest``."""
    v = torch.randn(4, T // 2, features).repeat_interleave(2, 1)
    v += rest * torch.randn_like(v)
    u = torch.randn(4, T // 2, features).repeat_interleave(2, 1)
    u[:, 1::2] *= -1
    return u, v


@pytest.mark.parametrize("rest", [1.0, 1e-1, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize(("T", "features"), [(2, 256), (32, 400), (130, 900)])
def test_cancelling_positions_of_a_linear_layer(rest, T, features):
    u, v = cancelling(T, features, rest)
    assert costs.gram_is_cheaper(4, T, features, features)
    norms = Factors(u, v).squared_norms()
    expected = exact(Factors(u.double(), v.double()))
    torch.testing.assert_close(norms.double(), expected, rtol=1e-3, atol=0)


def test_the_plain_gram_form_would_fail_there():
    u, v = cancelling(32, 400, 1e-4)
    plain = ((u @ u.mT) * (v @ v.mT)).sum((1, 2))
    expected = exact(Factors(u.double(), v.double()))
    assert ((plain - expected).abs() > 1e-2 * expected).any()


@pytest.mark.parametrize("rest", [1e-1, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize(("side", "channels"), [(8, 128), (32, 16)])
def test_cancelling_positions_of_a_convolution(rest, side, channels):
    """A nearly constant image meets gradients of changing sign."""
    x = torch.ones(2, 1, channels, side, side) + rest * torch.randn(2, 1, channels, side, side)
    sign = (-1.0) ** torch.arange(side)
    g = torch.randn(2, 1, channels, 1, 1) * sign.view(1, -1) * sign.view(-1, 1)
    shape = torch.Size((channels, channels, 3, 3))
    geometry = Geometry((1, 1), (0, 0), (1, 1))
    g = g[..., : side - 2, : side - 2].expand(2, 1, channels, side - 2, side - 2)
    expected = weight_gradients(x, g, shape, geometry).flatten(1).square().sum(1)
    norms = Patches(x, g, shape, geometry).squared_norms()
    torch.testing.assert_close(norms.double(), expected, rtol=1e-3, atol=0)


def test_gradients_too_small_to_be_squared():
    u, v = torch.full((2, 1, 3), 1e-18), torch.full((2, 1, 4), 1e6)
    expected = torch.full((2,), 12 * 1e-24)
    torch.testing.assert_close(Factors(u, v).squared_norms(), expected, rtol=1e-4, atol=0)
    u[1], v[1] = 0, 1e30  # whose square is infinite
    assert Factors(u, v).squared_norms()[1] == 0


@pytest.mark.parametrize("T", [1, 8, 70])
@pytest.mark.parametrize("small", [1e-22, 1e-26])
def test_small_gradients_meet_large_inputs(T, small):
    u, v = small * torch.randn(3, T, 64), 1e-12 / small * torch.randn(3, T, 500)
    expected = exact(Factors(u.double(), v.double()))
    for factors in (Factors(u, v), Factors(v, u)):
        torch.testing.assert_close(factors.squared_norms().double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("small", [1e-20, 1e-22, 1e-23])
def test_small_gradients_of_a_convolution_meet_large_inputs(small):
    shape, geometry = torch.Size((64, 64, 3, 3)), Geometry((1, 1), (1, 1), (1, 1))
    x, g = 1e-15 / small * torch.randn(3, 1, 64, 8, 8), small * torch.randn(3, 1, 64, 8, 8)
    expected = weight_gradients(x, g, shape, geometry).flatten(1).square().sum(1)
    patches = Patches(x, g, shape, geometry)
    found = norms_by_pixels(patches).double()
    assert found.isnan().all() or torch.allclose(found, expected, rtol=FLOAT32, atol=0)
    for form in (norms_by_groups, norms_unfolded, Patches.squared_norms):
        torch.testing.assert_close(form(patches).double(), expected, rtol=1e-4, atol=0)


def test_a_sample_that_is_not_finite_spoils_no_other():
    u, v = torch.randn(3, 4, 100), torch.randn(3, 4, 100)
    expected = Factors(u, v).squared_norms()
    u[1, 2, 3] = torch.inf
    norms = Factors(u, v).squared_norms()
    torch.testing.assert_close(norms[[0, 2]], expected[[0, 2]])
    assert not norms[1].isfinite()


@pytest.mark.parametrize("samples", [1, 2, 5, 7])
@pytest.mark.parametrize("size", [1, 1 << 20, 1 << 21, 1 << 30])
def test_chunks_cover_all_samples_once(samples, size):
    values = torch.arange(samples * 2.0).view(samples, 2)
    seen = base.in_chunks(Dense(values), lambda part: part.dense()[:, 0], size)
    torch.testing.assert_close(seen, values[:, 0])


def test_reduced_precision_of_products_rules_out_cancellation():
    assert costs.gram_is_cheaper(100, 4, 100, 100)
    torch.set_float32_matmul_precision("high")
    try:
        assert not costs.gram_is_cheaper(100, 4, 100, 100)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_columns_of_all_sizes():
    shapes = [(), (3,), (2, 3), (0,), (2000,), *itertools.repeat((5,), 70)]
    parts = [Dense(torch.randn(4, *shape)) for shape in shapes]
    columns = Columns(torch.zeros(4, len(parts) + 1))
    for j, part in enumerate(parts):
        columns.take(j, part)
    expected = torch.stack([part.dense().reshape(4, -1).square().sum(1) for part in parts], 1)
    table = columns.table()
    torch.testing.assert_close(table[:, :-1], expected)
    assert not table[:, -1].any()


@pytest.mark.parametrize("size", [3, 2000])
def test_a_column_that_is_filled_twice_keeps_the_last(size):
    columns = Columns(torch.zeros(2, 3))
    for j, value in [(0, 1.0), (1, 2.0), (0, 3.0)]:
        columns.take(j, Dense(torch.full((2, size), value)))
    columns.take(1, Dense(torch.full((2, size), 4.0, dtype=torch.float64)))
    assert torch.equal(columns.table(), torch.tensor([[9.0, 16, 0]]).expand(2, 3) * size)
