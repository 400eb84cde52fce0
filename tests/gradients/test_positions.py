"""What positions add to squared norms, against copies of the parameters, one for each position."""

import pytest
import torch
import torch.nn.functional as F
from test_contributions import GEOMETRIES, cancelling
from test_exactness import FLOAT64, made
from torch import Tensor, nn
from zoo import ZOO

from fimetric.gradients import GradientNorms, positions
from fimetric.gradients.checks import ROUNDING
from fimetric.gradients.contributions import Blocks, Factors, Geometry, Patches, Rows, Sum, add
from fimetric.gradients.positions import by_position
from fimetric.gradients.reference import gradients_one_by_one

N, T = 4, 6


# Operations with one set of parameters for all positions, and with one for each: (T, *shape).


def linear(x, w):
    return F.linear(x, w["w"], w["b"])


def linear_apart(x, w):
    return torch.einsum("nti,toi->nto", x, w["w"]) + w["b"]


def norm(x, w):
    return F.layer_norm(x, (3,), w["w"], w["b"])


def norm_apart(x, w):
    return F.layer_norm(x, (3,)) * w["w"] + w["b"]


def tied(x, w):
    return F.linear(torch.tanh(F.embedding(x, w["w"]) * w["scale"]), w["w"])


def time_first(x, w):
    rows = torch.tanh(F.embedding(x.T, w["w"]) * w["scale"]).flatten(0, 1)
    return F.linear(rows, w["w"]).view(T, len(x), -1).transpose(0, 1)


def tied_apart(x, w):
    rows = torch.tanh(w["w"][torch.arange(T), x] * w["scale"])
    return torch.einsum("nti,toi->nto", rows, w["w"])


def used_twice(x, w):
    return torch.tanh(torch.tanh(x @ w["w"] + w["b"]) @ w["w"] + w["b"])


def used_twice_apart(x, w):
    for _ in range(2):
        x = torch.tanh(torch.einsum("nti,tio->nto", x, w["w"]) + w["b"])
    return x


def convolution(x, w):
    return F.conv2d(x, w["w"], w["b"], stride=(2, 1), padding=1, dilation=(1, 2), groups=2)


def convolution_apart(x, w):
    patches = F.unfold(x, (2, 3), padding=1, stride=(2, 1), dilation=(1, 2)).unflatten(1, (2, -1))
    kernels = w["w"].flatten(2).unflatten(1, (2, -1))  # (T, groups, O / groups, I / groups * 6)
    return torch.einsum("tgoi,ngit->ngot", kernels, patches).flatten(1, 2) + w["b"].T


def transposed(x, w):
    return F.conv_transpose2d(x, w["w"], stride=2, padding=1)


def transposed_apart(x, w):
    columns = torch.einsum("nit,tiok->nokt", x.flatten(2), w["w"].flatten(3)).flatten(1, 2)
    return F.fold(columns, (3, 5), 3, stride=2, padding=1)


def matrices(x, w):
    y = torch.bmm(x.transpose(0, 1).reshape(2, -1, 3), w["w"])
    return y.view(2, T, len(x), 4).permute(2, 0, 1, 3)


def matrices_apart(x, w):
    return torch.einsum("nbti,tbio->nbto", x.view(-1, 2, T, 3), w["w"])


TOKENS = torch.tensor(
    [[0, 1, 2, 1, 4, 0], [3, 3, 3, 3, 3, 3], [0, 1, 2, 3, 4, 0], [4, 3, 2, 1, 0, 4]]
)
W, B, SCALE = {"w": (5, 3)}, {"b": (5,)}, {"scale": (3,)}
CASES = {
    "linear": (linear, linear_apart, (N, T, 3), W | B, T),
    "layer norm": (norm, norm_apart, (N, T, 3), {"w": (3,), "b": (3,)}, T),
    "tied": (tied, tied_apart, TOKENS, W | SCALE, T),
    "time first": (time_first, tied_apart, TOKENS, W | SCALE, T),
    "used twice": (used_twice, used_twice_apart, (N, T, 3), {"w": (3, 3), "b": (3,)}, T),
    "convolution": (
        *(convolution, convolution_apart, (N, 4, 4, 5), {"w": (6, 2, 2, 3), "b": (6,)}, 9),
    ),
    "transposed": (transposed, transposed_apart, (N, 2, 2, 3), {"w": (2, 4, 3, 3)}, T),
    "matrices": (matrices, matrices_apart, (N, 2 * T, 3), {"w": (2, 3, 4)}, T),
}


def cubes(y) -> Tensor:
    return y.flatten(1).pow(3).sum(1)


def case(name, dtype=torch.float64):
    """Return a module, a batch, its losses and the gradients of each position, (N, T, *shape)."""
    together, apart, x, shapes, count = CASES[name]
    x = x if isinstance(x, Tensor) else torch.randn(x, dtype=dtype)
    w = nn.ParameterDict({key: torch.randn(shape, dtype=dtype) for key, shape in shapes.items()})
    copies = {
        key: p.detach().expand(count, *p.shape).clone().requires_grad_() for key, p in w.items()
    }
    torch.testing.assert_close(cubes(together(x, w)), cubes(apart(x, copies)))
    found = gradients_one_by_one(cubes(apart(x, copies)), list(copies.values()))
    return w, x, lambda x: cubes(together(x, w)), dict(zip(copies, found, strict=True))


def shares(terms: Tensor) -> Tensor:
    """(N, T, ...) -> <g_t, sum_s g_s>, (N, T)."""
    return (terms * terms.sum(1, keepdim=True)).flatten(2).sum(2)


@pytest.mark.parametrize("name", CASES)
def test_equals_copies_of_the_parameters(name):
    w, x, losses, gradients = case(name)
    norms = GradientNorms(w)
    for _ in range(2):  # the plan is made, then reused
        found = dict(norms.by_position(losses(x)))
        assert list(found) == norms.names
        for key, g in gradients.items():
            torch.testing.assert_close(found[key], shares(g), rtol=1e-10, atol=1e-10)
            assert not found[key].requires_grad
    assert (shares(g) < 0).any()  # so no norms of anything


@pytest.mark.parametrize("name", ["time first", "tied"])
def test_members_of_a_group_are_numbered_with_their_positions(name):
    w, x, losses, gradients = case(name)
    found = dict(GradientNorms(w).by_position(losses(x).view(2, 2).sum(1)))
    for key, g in gradients.items():
        members = g.unflatten(0, (2, 2))  # (groups, members, T, ...)
        members = members.transpose(1, 2) if name == "time first" else members
        torch.testing.assert_close(found[key], shares(members.flatten(1, 2)))


@pytest.mark.parametrize("name", ZOO)
def test_sums_to_the_squared_norms(name):
    module, batch, losses = made(name, torch.float64)
    norms = GradientNorms(module)
    measured = norms.measure(losses(batch))
    table, eps = measured.table, torch.finfo(torch.float64).eps
    scale = measured.bound.sqrt() / (ROUNDING * eps)  # of a position times that of all of them
    noise = ROUNDING * eps * scale.square()
    found = dict(norms.by_position(losses(batch)))
    alone = dict(norms.by_position(losses(batch[:1])))
    assert list(found) == norms.names
    for j, key in enumerate(norms.names):
        if found[key] is not None:
            error = (found[key].sum(1) - table[:, j]).abs()
            assert (error <= FLOAT64 * table[:, j] + noise[:, j]).all()
        if found[key] is not None and alone[key] is not None:
            slack = noise[0, j] + FLOAT64 * found[key][0].abs().sum()
            assert (found[key][:1] - alone[key]).abs().max() <= slack


COUNTS = {
    "convolutions_2d": {"0.weight": 81, "0.bias": 81, "1.weight": None, "5.weight": 21},
    "wide_layer_on_few_rows": {"weight": 3, "bias": 3},
    "perceptron": {"0.weight": None, "2.bias": None},
    "lstm_bidirectional": {"weight_ih_l0": 6, "bias_ih_l1": 6, "weight_hh_l0": None},
    "parametrized_weights": {"0.bias": 9, "0.parametrizations.weight.original0": None},
    "unused_and_frozen_parameters": {"unused.weight": None},
    "checkpointed": {"0.weight": None},
    "mixture_of_experts": {"gate.weight": 6, "experts.0.weight": None, "experts.0.bias": None},
    "gpt2": {"transformer.wte.weight": 6, "transformer.h.1.mlp.c_fc.bias": 6},
    "llama": {"model.layers.0.input_layernorm.weight": 6, "lm_head.weight": 6},
    "diffusers_unet": {"conv_in.weight": 64, "conv_norm_out.weight": None},
}


@pytest.mark.parametrize("name", COUNTS)
def test_which_tensors_have_positions(name):
    module, batch, losses = made(name, torch.float64)
    found = dict(GradientNorms(module).by_position(losses(batch)))
    shapes = {key: None if found[key] is None else tuple(found[key].shape) for key in COUNTS[name]}
    expected = {key: None if n is None else (len(batch), n) for key, n in COUNTS[name].items()}
    assert shapes == expected


# Forms of one contribution, in float32, against its terms written out in float64.


def outer(factors) -> Tensor:
    terms = torch.einsum("nto,nti->ntoi", factors.u.double(), factors.v.double())
    return terms.flatten(2)


def assert_close(found: Tensor, terms: Tensor) -> None:
    """Allow for each position what rounding makes of its own and all terms' sizes."""
    sizes = terms.norm(dim=2)
    allowed = 64 * torch.finfo(torch.float32).eps * sizes * sizes.sum(1, keepdim=True)
    assert found.shape == sizes.shape
    assert ((found.double() - shares(terms)).abs() <= allowed).all()
    excess = (found.double().sum(1) - shares(terms).sum(1)).abs()
    rounding = 64 * torch.finfo(torch.float32).eps * sizes.sum(1) * terms.sum(1).norm(dim=1)
    assert (excess <= rounding).all()


@pytest.mark.parametrize("count", [2, 5, 65])
@pytest.mark.parametrize(("O", "I"), [(3, 4), (300, 200)])
def test_every_form_of_a_matrix(count, O, I):
    factors = Factors(torch.randn(3, count, O), torch.randn(3, count, I))
    for form in (by_position, positions._by_gram, positions._by_matrix):
        assert_close(form(factors), outer(factors))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_every_form_of_a_convolution(geometry, samples):
    dims, images, O, I, kernel, *geometry = geometry
    shape, size = torch.Size((O, I, *kernel)), (8, 7, 6)[:dims]
    x = torch.randn(samples, images, I, *size)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    y = function(x.flatten(0, 1), torch.zeros(shape), None, *geometry)
    g = torch.randn(samples, images, *y.shape[1:])
    patches = Patches(x, g, shape, Geometry(*geometry))
    for form in (by_position, positions._by_pixels, positions._by_matrix):
        assert_close(form(patches), outer(patches))


@pytest.mark.parametrize("count", [2, 7, 65])
def test_every_form_of_a_tied_embedding_and_head(count):
    index = torch.randint(50, (3, count))
    index[:, -1] = index[:, 0]  # a token twice
    rows = Rows(index, torch.randn(3, count, 30), 50)
    head = Factors(torch.randn(3, count, 50), torch.randn(3, count, 30))
    other = Rows(torch.randint(50, (3, count)), torch.randn(3, count, 30), 50)
    for parts in ([rows], [rows, head], [head, rows, head], [rows, other], [head, head]):
        terms = sum(outer(part) for part in parts)
        for form in (by_position, positions._by_gram, positions._by_matrix):
            # the sizes of the terms are those of all uses
            found, expected = form(add(parts)).double(), shares(terms)
            torch.testing.assert_close(
                found, expected, rtol=1e-4, atol=1e-4 * float(expected.max())
            )


def test_sums_over_any_axes():
    terms = torch.randn(3, 4, 2, 5, 6)
    for dims in [(1,), (2, 4), (4, 1), (1, 2, 3, 4)]:
        kept = [d for d in (1, 2, 3, 4) if d not in dims]
        written_out = terms.permute(0, *dims, *kept).flatten(1, len(dims))
        shape = [terms.shape[d] for d in kept]
        found = by_position(Sum(terms, dims, shape))
        assert_close(found, written_out.reshape(3, found.shape[1], -1).double())


def test_sums_of_complex_terms():
    terms = torch.randn(3, 1, 4, 5, dtype=torch.complex64)
    found = by_position(Sum(terms, (1, 2), (5,)))
    assert_close(found, torch.view_as_real(terms)[:, 0].flatten(2).double())


def test_blocks_share_their_positions():
    factors = Factors(torch.randn(6, 4, 3), torch.randn(6, 4, 2))
    blocks = Blocks(factors, 3, torch.Size((2, 3, 2)))
    terms = outer(factors).unflatten(0, (3, 2)).transpose(1, 2).flatten(2)
    assert_close(by_position(blocks), terms)
    twice = by_position(add([blocks, blocks]))
    torch.testing.assert_close(twice, 4 * by_position(blocks))


def test_all_forms_are_chosen_somewhere(monkeypatch):
    taken = []
    for form in ("_by_rows", "_by_gram", "_by_pixels", "_by_matrix"):
        monkeypatch.setattr(
            positions, form, lambda c, form=form: taken.append(form) or torch.zeros(len(c), 1)
        )
    wide = Factors(torch.randn(9, 4, 300), torch.randn(9, 4, 300))
    rows = Rows(torch.randint(300, (9, 4)), torch.randn(9, 4, 300), 300)
    for parts in ([rows], [wide], [wide, rows], [Factors(wide.u[..., :3], wide.v[..., :3])]):
        by_position(add(parts))
    for channels, side in [(128, 8), (32, 32)]:
        x, shape = torch.randn(9, 1, channels, side, side), torch.Size((channels, channels, 3, 3))
        by_position(Patches(x, x, shape, Geometry((1, 1), (1, 1), (1, 1))))
    assert list(dict.fromkeys(taken[:4])) == ["_by_rows", "_by_gram", "_by_matrix"]
    assert list(dict.fromkeys(taken[4:])) == ["_by_pixels", "_by_matrix"]


@pytest.mark.parametrize("rest", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize(("count", "features"), [(2, 256), (32, 400)])
def test_cancelling_positions(rest, count, features):
    factors = Factors(*cancelling(count, features, rest))
    assert_close(by_position(factors), outer(factors))


@pytest.mark.parametrize("rest", [1e-1, 1e-3])
def test_cancelling_positions_of_a_convolution(rest):
    """A nearly constant image meets gradients of changing sign."""
    x = torch.ones(2, 1, 128, 8, 8) + rest * torch.randn(2, 1, 128, 8, 8)
    sign = (-1.0) ** torch.arange(6)
    g = torch.randn(2, 1, 128, 1, 1) * sign.view(1, -1) * sign.view(-1, 1)
    geometry = Geometry((1, 1), (0, 0), (1, 1))
    patches = Patches(x, g, torch.Size((128, 128, 3, 3)), geometry)
    assert patches.pixels_are_cheaper()
    found, norms = (
        by_position(patches).double().sum(1),
        patches.dense().double().flatten(1).norm(dim=1),
    )
    rounding = 64 * torch.finfo(torch.float32).eps * patches.scale().double()
    assert ((found - norms.square()).abs() <= rounding * norms).all()


def test_the_plain_gram_form_would_fail_there():
    factors = Factors(*cancelling(32, 400, 1e-4))
    plain = (factors.left_gram(factors) * factors.right_gram(factors)).sum(2)
    with pytest.raises(AssertionError):
        assert_close(plain, outer(factors))


@pytest.mark.parametrize("count", [2, 8, 70])
@pytest.mark.parametrize("small", [1e-22, 1e-26, 1e-32])
def test_small_gradients_meet_large_inputs(count, small):
    u, v = small * torch.randn(3, count, 64), 1e-12 / small * torch.randn(3, count, 500)
    for factors in (Factors(u, v), Factors(v, u)):
        for form in (by_position, positions._by_matrix):
            assert_close(form(factors), outer(factors))


@pytest.mark.parametrize("small", [1e-20, 1e-22, 1e-23])
def test_small_gradients_of_a_convolution_meet_large_inputs(small):
    shape, geometry = torch.Size((64, 64, 3, 3)), Geometry((1, 1), (1, 1), (1, 1))
    x, g = 1e-15 / small * torch.randn(3, 1, 64, 8, 8), small * torch.randn(3, 1, 64, 8, 8)
    patches = Patches(x, g, shape, geometry)
    for form in (by_position, positions._by_pixels):
        assert_close(form(patches), outer(patches))


def test_a_strange_sample_spoils_no_other_and_zeros_stay_zero():
    u, v = torch.randn(4, 5, 100), torch.randn(4, 5, 100)
    expected = by_position(Factors(u, v))
    u[1, 2, 3], u[2] = torch.inf, 0
    for form in (by_position, positions._by_matrix):
        found = form(Factors(u, v))
        torch.testing.assert_close(found[[0, 3]], expected[[0, 3]], rtol=1e-4, atol=1e-2)
        assert not found[1].isfinite().any()
        assert not found[2].any()


def test_uses_with_unlike_numbers_of_positions_have_none():
    five, six = (Factors(torch.randn(2, n, 3), torch.randn(2, n, 4)) for n in (5, 6))
    rows = Rows(torch.randint(3, (2, 6)), torch.randn(2, 6, 4), 3)
    assert by_position(add([five, six])) is None
    assert by_position(add([five, rows])) is None
    assert by_position(add([six, rows])).shape == (2, 6)
    step = Factors(torch.randn(2, 1, 3), torch.randn(2, 1, 4))
    assert by_position(add([step] * 6)) is None  # six uses at one position
    assert by_position(Factors(five.u[:, :0], five.v[:, :0])) is None
    twice = add([five, five])
    torch.testing.assert_close(by_position(twice[1:]), by_position(twice)[1:])


def test_a_hook_loses_the_positions():
    w, x, losses, gradients = case("linear")
    w["w"].register_hook(lambda g: 2 * g)
    found = dict(GradientNorms(w).by_position(losses(x)))
    assert found["w"] is None
    torch.testing.assert_close(found["b"], shares(gradients["b"]))


def test_a_layer_that_was_zero_in_the_first_batch():
    module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Conv1d(3, 2, 1)).double()
    nn.init.zeros_(module[2].weight)
    norms, x = GradientNorms(module), torch.randn(N, 2, 8, dtype=torch.float64)
    losses = lambda: (module(x) - 1).square().sum((1, 2))  # noqa: E731
    assert dict(norms.by_position(losses()))["2.weight"].shape == (N, 6)
    nn.init.normal_(module[2].weight)
    table = norms(losses())
    for j, (_, found) in enumerate(norms.by_position(losses())):
        torch.testing.assert_close(found.sum(1), table[:, j])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_half_and_single_precision(kind):
    w, x, _, gradients = case("linear")
    w, x = w.to(kind), x.to(kind)
    found = dict(GradientNorms(w).by_position(cubes(linear(x, w))))
    exact = shares(gradients["w"])
    assert found["w"].dtype == torch.float32
    error = (found["w"].double() - exact).abs() / exact.abs().amax(1, keepdim=True)
    assert error.max() < (0.2 if kind == torch.bfloat16 else 1e-5)


def test_the_graph_is_kept_only_where_asked():
    w, x, losses, _ = case("linear")
    norms, found = GradientNorms(w), losses(x)
    first = dict(norms.by_position(found, retain_graph=True))
    for key, again in norms.by_position(found):
        torch.testing.assert_close(again, first[key])
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        norms.by_position(found)
