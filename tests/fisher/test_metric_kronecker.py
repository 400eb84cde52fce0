"""Kronecker factors where they are exact, and against loops where they are not."""

import numpy as np
import pytest
import torch
from metric_cases import F, build, draws, gradients, halves, measured
from torch import nn

from fimetric.fisher.metrics import Diagonal, Kronecker
from fimetric.fisher.metrics.blocks import factors_are_cheaper
from fimetric.fisher.metrics.damping import SHARES
from fimetric.fisher.metrics.moments import Moments
from fimetric.gradients import Dense, Factors
from fimetric.objectives import Objective

EXACT = {"rtol": 1e-9, "atol": 1e-11}  # float64 sums in another order
KINDS = ["expand", "reduce", "ekfac"]
O, I = 3, 4


def bilinear(outputs=O, inputs=I):
    """The gradient of u^T W v, or of its sum over positions, is sum_t u_t v_t^T."""
    model = nn.Linear(inputs, outputs, bias=False).double()

    def losses(batch):
        return (batch["u"] * model(batch["x"])).flatten(1).sum(1)

    return Objective(losses, model)


def independent(m=6, n=7):
    """All pairs of some u and some v: u and v are exactly independent."""
    u, v = draws(m, O), draws(n, I, seed=1)
    return {"x": v.repeat(m, 1), "u": u.repeat_interleave(n, 0)}


def positions(N=11, T=5, outputs=O, inputs=I):
    shift = draws(N, 1, inputs, seed=4)  # positions of a sample are alike, samples differ
    return {"x": draws(N, T, inputs) + shift, "u": draws(N, T, outputs, seed=1) + 0.4}


def quadratic(G, whole):
    """g^T F^-1 g for matrices G (N, O, I) and F (O I, O I)."""
    g = G.flatten(1)
    return (g * torch.linalg.solve(whole, g.T).T).sum(1, keepdim=True)


@pytest.mark.parametrize("kind", KINDS)
def test_at_one_position_and_independent_factors_it_is_the_exact_metric(kind):
    objective, data = bilinear(), independent()
    metric = Kronecker(kind, damping=0.0).fit(objective, data, batch_size=5, progress=False)
    g = gradients(objective, data)["weight"]
    exact = g.flatten(1).T @ g.flatten(1) / len(g)
    fresh = {"x": draws(9, I, seed=5), "u": draws(9, O, seed=6)}
    expected = quadratic(gradients(objective, fresh)["weight"], exact)
    torch.testing.assert_close(measured(metric, objective, fresh), expected, **EXACT)


@pytest.mark.parametrize("reduce", [True, False])
def test_factors_of_one_position_are_the_exact_moments(reduce):
    data = independent()
    moments = Moments(reduce, largest_side=10)
    moments.add(Factors(data["u"][:, None], data["x"][:, None]), halves(42))
    for side, rows in zip(moments.sides(1.0, 0, 1), (data["u"], data["x"]), strict=True):
        found = side.basis * side.values @ side.basis.T
        torch.testing.assert_close(found, rows.T @ rows / 42, **EXACT)
    first = data["u"][halves(42)]
    side = moments.sides(1.0, 0)[0]
    torch.testing.assert_close(
        side.basis * side.values @ side.basis.T, first.T @ first / 21, **EXACT
    )


def test_expand_is_reduce_at_one_position():
    objective, data = bilinear(), {"x": draws(30, I), "u": draws(30, O, seed=1)}
    tables = [
        measured(Kronecker(kind).fit(objective, data, progress=False), objective, data)
        for kind in ("expand", "reduce")
    ]
    torch.testing.assert_close(*tables, **EXACT)


def naive(u, v, kind):
    """B (O, O) and A (I, I) by loops over samples and positions."""
    N, T = u.shape[:2]
    B, A = torch.zeros(2, 1, 1).double()
    for n in range(N):
        if kind == "reduce":
            total, mean = u[n].sum(0), v[n].mean(0)
            B, A = B + torch.outer(total, total) / N, A + torch.outer(mean, mean) / N
        else:
            for t in range(T):
                B = B + torch.outer(u[n, t], u[n, t]) / N
                A = A + torch.outer(v[n, t], v[n, t]) / (N * T)
    return B, A


def damped(M, share):
    return (1 - share) * M + share * M.trace() / len(M) * torch.eye(len(M)).to(M)


def product(u, v, kind, share):
    B, A = naive(u, v, kind)
    return torch.kron(damped(B, share), damped(A, share))


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["expand", "reduce"])
@pytest.mark.parametrize("T", [2, 40])  # whitened in factors, and written out
def test_many_positions_are_summed_as_by_a_loop(kind, share, T):
    objective, data = bilinear(), positions(T=T)
    metric = Kronecker(kind, damping=share).fit(objective, data, batch_size=4, progress=False)
    whole = product(data["u"], data["x"], kind, share)
    expected = quadratic(gradients(objective, data)["weight"], whole)
    torch.testing.assert_close(measured(metric, objective, data), expected, **EXACT)
    assert metric.of().blocks["weight"].noise == pytest.approx(
        float(torch.linalg.inv(whole).trace() / len(whole)), rel=1e-9
    )


CANCELLING = {"u": ["u"], "x": ["x"], "both": ["u", "x"]}


@pytest.mark.parametrize("largest_side", [10, 2])
@pytest.mark.parametrize("damping", [0.2, None])
@pytest.mark.parametrize("names", CANCELLING.values(), ids=CANCELLING)
def test_reduce_takes_a_side_for_round_whose_positions_cancel(names, damping, largest_side):
    """As below a normalisation; what rounding leaves of the sums is no direction."""
    objective, data = bilinear(), positions(N=12)
    for name in names:
        data[name] = data[name] - data[name].mean(1, keepdim=True)
    G = gradients(objective, data)["weight"]
    sides = dict(zip(("u", "x"), naive(data["u"], data["x"], "reduce"), strict=True))
    if largest_side == 2:
        sides = {name: side.diagonal().diag() for name, side in sides.items()}
    for name in names:
        sides[name] = torch.eye(len(sides[name])).double()
    metric = Kronecker("reduce", damping, largest_side).fit(objective, data, progress=False)
    share = metric.of().blocks["weight"].damping
    whole = torch.kron(damped(sides["u"], share), damped(sides["x"], share))
    expected = quadratic(G, whole)
    found = measured(metric, objective, data)
    ratio = found / expected
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), **EXACT)
    if damping is not None:  # and the mean of F is the gradients' mean square
        size = whole.trace() / len(whole) / ratio[0, 0]
        torch.testing.assert_close(size, G.square().mean(), **EXACT)
    else:  # noise in other digits, the same choice
        turned = {name: value.flip(1) for name, value in data.items()}
        again = Kronecker("reduce", damping, largest_side).fit(objective, turned, progress=False)
        torch.testing.assert_close(measured(again, objective, data), found, **EXACT)


def in_eigenbasis(G, u, v):
    """U_B^T G U_A for the factors of expand."""
    (_, left), (_, right) = (torch.linalg.eigh(M) for M in naive(u, v, "expand"))
    return left.T @ G @ right


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_ekfac_is_a_diagonal_in_the_eigenbasis_of_expand(share):
    objective, data = bilinear(), positions()
    metric = Kronecker("ekfac", damping=share).fit(objective, data, batch_size=4, progress=False)
    turned = in_eigenbasis(gradients(objective, data)["weight"], data["u"], data["x"])
    B, A = (torch.linalg.eigvalsh(damped(M, share)) for M in naive(data["u"], data["x"], "expand"))
    S = (1 - share) * turned.square().mean(0) + share * torch.outer(B, A)
    expected = (turned.square() / S).sum((1, 2))[:, None]
    torch.testing.assert_close(measured(metric, objective, data), expected, **EXACT)


def best_product(u, v, turned, kind):
    """Return share, factor and eigenvalues of A kron B by a loop over the grid."""
    B, A = (torch.linalg.eigvalsh(M) for M in naive(u, v, kind))
    S, found = turned.square().mean(0), []
    for share in SHARES:
        s = torch.outer((1 - share) * B + share * B.mean(), (1 - share) * A + share * A.mean())
        factor = (S / s).mean()
        found.append(((S / (factor * s) + (factor * s).log()).sum().item(), share, factor * s))
    return min(found, key=lambda each: each[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_chosen_damping_is_that_of_a_loop(kind):
    objective, data = bilinear(), positions(N=25)
    u, v, first = data["u"], data["x"], halves(25, seed=2)
    metric = Kronecker(kind, seed=2).fit(objective, data, batch_size=9, progress=False)
    G = gradients(objective, data)["weight"]
    one = naive(u[first], v[first], "expand" if kind == "ekfac" else kind)
    (_, left), (_, right) = (torch.linalg.eigh(M) for M in one)
    turned = left.T @ G @ right
    factors = "expand" if kind == "ekfac" else kind
    _, share, simpler = best_product(u[first], v[first], turned[~first], factors)
    factor = float(simpler.sum() / torch.outer(*(torch.linalg.eigvalsh(M) for M in one)).sum())
    whole = factor * product(u, v, factors, share)
    block = metric.of().blocks["weight"]
    if kind != "ekfac":
        assert block.damping == share
        torch.testing.assert_close(measured(metric, objective, data), quadratic(G, whole), **EXACT)
        return
    S1, S2 = (turned[rows].square().mean(0) for rows in (first, ~first))
    mixed = [(1 - q) * S1 + q * simpler for q in SHARES]
    q = SHARES[int(np.argmin([(S2 / s + s.log()).sum().item() for s in mixed]))]
    assert block.damping == q
    turned = in_eigenbasis(G, u, v)
    B, A = (torch.linalg.eigvalsh(damped(M, share)) for M in naive(u, v, "expand"))
    S = (1 - q) * turned.square().mean(0) + q * factor * torch.outer(B, A)
    expected = (turned.square() / S).sum((1, 2))[:, None]
    torch.testing.assert_close(measured(metric, objective, data), expected, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_samples_have_the_mean_that_their_number_of_entries_says(kind):
    objective, data = bilinear(), positions(N=400)
    metric = Kronecker(kind).fit(objective, data, progress=False)
    fresh = {"x": positions(N=900)["x"][500:], "u": positions(N=900)["u"][500:]}
    assert measured(metric, objective, fresh).mean().item() == pytest.approx(O * I, rel=0.2)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", ["expand", "reduce"])
def test_convolutions_have_the_factors_of_their_unfolded_input(kind, transposed):
    make = nn.ConvTranspose2d if transposed else nn.Conv2d
    model = make(2, 3, 3, stride=2, padding=1, bias=False).double()
    x = draws(9, 2, 6, 5)
    weight = draws(*model(x).shape[1:], seed=3)

    def losses(x):
        y = model(x)
        return (y * weight + 0.3 * y**2).flatten(1).sum(1)

    metric = Kronecker(kind, damping=0.1).fit(Objective(losses, model), x, progress=False)
    output = model(x).detach()
    g = weight + 0.6 * output
    patches, pixels = (g, x) if transposed else (x, g)
    v = F.unfold(patches, 3, stride=2, padding=1).transpose(1, 2)
    u = pixels.flatten(2).transpose(1, 2)
    G = gradients(Objective(losses, model), x)["weight"]
    torch.testing.assert_close((u.mT @ v).view_as(G), G, **EXACT)
    expected = quadratic(G, product(u, v, kind, 0.1))
    torch.testing.assert_close(measured(metric, Objective(losses, model), x), expected, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_longer_side_than_allowed_goes_by_its_diagonal(kind):
    """An embedding of 50 rows with at most 6: the rows' moment is a diagonal for expand anyway."""
    table, x = nn.Embedding(50, 4).double(), draws(40, 6).abs()

    def losses(x):
        found = table((x * 20).long() % 50)
        return (found.tanh().cumsum(1)).square().sum((1, 2))

    objective = Objective(losses, table)
    found = [
        measured(
            Kronecker(kind, 0.1, largest_side=side).fit(objective, x, progress=False), objective, x
        )
        for side in (6, 50)
    ]
    if kind == "expand":
        torch.testing.assert_close(*found, **EXACT)
        return
    data = {"x": positions(inputs=8)["x"], "u": positions()["u"]}
    objective = bilinear(inputs=8)
    metric = Kronecker(kind, 0.1, largest_side=7).fit(objective, data, progress=False)
    B, A = naive(data["u"], data["x"], "expand" if kind == "ekfac" else kind)
    A = A.diagonal().diag()
    G = gradients(objective, data)["weight"]
    if kind == "reduce":
        expected = quadratic(G, torch.kron(damped(B, 0.1), damped(A, 0.1)))
    else:
        values, left = torch.linalg.eigh(B)
        turned = left.T @ G
        simpler = torch.outer(0.9 * values + 0.1 * values.mean(), damped(A, 0.1).diagonal())
        S = 0.9 * turned.square().mean(0) + 0.1 * simpler
        expected = (turned.square() / S).sum((1, 2))[:, None]
    torch.testing.assert_close(measured(metric, objective, data), expected, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_without_factors_go_by_their_diagonal(kind):
    for name in ("convolutions", "tied", "complex_numbers"):
        objective, x = build(name)
        diagonal = Diagonal().fit(objective, x, progress=False)
        metric = Kronecker(kind).fit(objective, x, progress=False)
        found = dict(zip(metric.names, measured(metric, objective, x).T, strict=True))
        expected = dict(zip(diagonal.names, measured(diagonal, objective, x).T, strict=True))
        others = [n for n in expected if n not in ("0.weight", "4.weight", "head.weight")]
        assert others
        for name_ in others:
            torch.testing.assert_close(found[name_], expected[name_], **EXACT)
        for name_ in {"0.weight", "4.weight"} & set(found):
            assert not torch.allclose(found[name_], expected[name_], rtol=0.01)


def test_gradients_that_come_written_out_are_whitened_alike():
    """Models that go by the loop give no factors; neither may their metric differ."""
    objective, data = bilinear(), positions()
    metric = Kronecker("expand").fit(objective, data, progress=False)
    G = gradients(objective, data)["weight"]
    block = metric.of().blocks["weight"]
    expected = measured(metric, objective, data)[:, 0]
    torch.testing.assert_close(block.squared_norms(Dense(G)), expected, **EXACT)


def test_factors_are_turned_where_they_are_few_and_matrices_where_they_are_small():
    def cheaper(T, O, I):
        factors = Factors(torch.zeros(1, T, O), torch.zeros(1, T, I))
        return factors_are_cheaper(factors, torch.zeros(O, O), torch.zeros(I, I))

    assert cheaper(1, 512, 512) and cheaper(8, 512, 2048)
    assert not cheaper(1024, 64, 576) and not cheaper(256, 4, 864)


def test_singular_factors_and_unknown_kinds_are_refused():
    objective, data = bilinear(), positions()
    data["x"][..., 1] = data["x"][..., 0]
    for kind in ("expand", "reduce"):
        with pytest.raises(ValueError, match="'weight' is singular without damping: 3 of its 12"):
            Kronecker(kind, damping=0.0).fit(objective, data, progress=False)
    with pytest.raises(ValueError, match="kind must be one of expand, reduce, ekfac, not 'kfac'"):
        Kronecker("kfac").fit(objective, data, progress=False)


@pytest.mark.parametrize("kind", KINDS)
def test_linear_dependence_in_all_samples_has_no_say_in_the_damping(kind):
    plain, data = bilinear(), positions(N=40)
    fewer = Kronecker(kind).fit(plain, data, progress=False).of().blocks["weight"].damping
    wider = bilinear(inputs=2 * I)
    doubled = {"x": torch.cat([data["x"], data["x"]], -1), "u": data["u"]}
    block = Kronecker(kind).fit(wider, doubled, progress=False).of().blocks["weight"]
    # twice the mean eigenvalue is spread over twice the sides
    assert 0.2 * fewer <= block.damping <= 5 * fewer
    assert measured(Kronecker(kind).fit(wider, doubled, progress=False), wider, doubled).max() < 1e3


def test_tensors_without_factors_are_counted_in_the_log(caplog):
    model = nn.Linear(I, O).double()
    objective = Objective(lambda x: model(x).square().sum(1), model)
    with caplog.at_level("INFO", logger="fimetric"):
        Kronecker("expand").fit(objective, draws(12, I), progress=False)
    assert "whitened as by Diagonal: 1 of 2 tensors" in caplog.text  # the bias
