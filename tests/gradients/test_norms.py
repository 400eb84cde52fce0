"""The public class: names, types, errors, and what a strange sample does."""

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fimetric.gradients import GradientNorms, engine, plans
from fimetric.gradients.reference import squared_gradient_norms


def quadratic(module, x):
    return module(x).square().sum(1)


def test_names_leave_out_frozen_and_repeated_parameters():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    module[2].requires_grad_(False)
    assert GradientNorms(module).names == ["0.weight", "0.bias", "1.bias"]
    assert GradientNorms(module[0].named_parameters(prefix="a")).names == ["a.weight", "a.bias"]


def test_no_trainable_parameter():
    with pytest.raises(ValueError, match="no trainable parameter"):
        GradientNorms(nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(ValueError, match="no trainable parameter"):
        GradientNorms(nn.ReLU())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda losses: losses.sum(), r"\(N,\)"),
        (lambda losses: losses.unsqueeze(1), r"\(N,\)"),
        (lambda losses: losses[:0], r"\(N,\)"),
        (lambda losses: losses.tolist(), r"\(N,\)"),
        (lambda losses: losses.detach(), "no graph"),
        (lambda losses: losses.to(torch.cfloat), "real"),
    ],
)
def test_bad_losses(spoil, message):
    module = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=message):
        GradientNorms(module)(spoil(quadratic(module, torch.randn(3, 2))))


def test_parameters_without_or_with_repeated_names():
    module = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="pairs"):
        GradientNorms(module.parameters())
    with pytest.raises(ValueError, match="two parameters are called 'a'"):
        GradientNorms([("a", module.weight), ("a", module.bias)])


def test_losses_of_another_model():
    module, other = nn.Linear(2, 2), nn.Linear(2, 2)
    with pytest.raises(ValueError, match="use none of the parameters"):
        GradientNorms(other)(quadratic(module, torch.randn(3, 2)))


def hidden_inside(inner, x):
    """A layer that backpropagates by itself, as reversible networks do."""

    class Reversible(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, module):
            ctx.module = module
            ctx.save_for_backward(x)
            return module(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                ctx.module(x).backward(g)
            return x.grad, None

    return Reversible.apply(x, inner)


def reentrant(inner, x):
    return torch.utils.checkpoint.checkpoint(inner, x, use_reentrant=True)


@pytest.mark.parametrize("layer", [reentrant, hidden_inside])
def test_parameters_that_the_graph_hides_are_found_by_backward(layer, caplog):
    torch.manual_seed(0)
    inner, outer, x = nn.Linear(2, 2), nn.Linear(2, 2), torch.randn(3, 2)
    both = nn.ModuleList([inner, outer])
    inner.weight.grad = torch.ones(2, 2)
    norms = GradientNorms(both)
    expected = GradientNorms(both)(inner(outer(x)).square().sum(1))
    for _ in range(3):
        table = norms(layer(inner, outer(x)).square().sum(1))
        torch.testing.assert_close(table, expected)
    assert torch.equal(inner.weight.grad, torch.ones(2, 2))
    assert outer.weight.grad is None
    assert caplog.text.count("one backward pass per sample") == 1


def test_losses_of_a_compiled_module_name_the_way_out():
    module = nn.Linear(2, 2)
    compiled = torch.compile(module, backend="aot_eager")
    losses = compiled(torch.randn(3, 2)).square().sum(1)
    with pytest.raises(RuntimeError, match=r"CompiledFunctionBackward.*_orig_mod"):
        GradientNorms(module)(losses)


def test_sparse_embeddings():
    table = nn.Embedding(5, 3, sparse=True)
    tokens = torch.tensor([[0, 1], [2, 2], [4, 0]])
    losses = lambda t: table(t).square().sum((1, 2))  # noqa: E731
    expected = squared_gradient_norms(losses, tokens.split(1), [table.weight])
    torch.testing.assert_close(GradientNorms(table)(losses(tokens)), expected)


@pytest.mark.parametrize("through", [lambda b: 0.1 * b, torch.exp, torch.tanh])
def test_a_structural_zero_below_a_root_is_no_error(through):
    torch.manual_seed(0)
    w, b = nn.Parameter(torch.randn(3, 2, 3, 3)), nn.Parameter(torch.randn(3))
    x = torch.randn(5, 2, 8, 8)
    measured = GradientNorms([("w", w), ("b", b)]).measure(
        F.instance_norm(F.conv2d(x, w, through(b))).pow(3).sum((1, 2, 3))
    )
    assert (measured.table[:, 1] <= measured.bound[:, 1]).all()


def test_normalisation_of_a_constant_is_no_error():
    w, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
    x = torch.randn(4, 3, 1)
    norms = GradientNorms([("w", w), ("b", b)])
    norms((F.layer_norm(x, (1,), w, b) + x).square().sum((1, 2)))


def test_types_and_graphs():
    module = nn.Linear(2, 2)
    norms = GradientNorms(module)
    losses = quadratic(module, torch.randn(3, 2))
    table = norms(losses, retain_graph=True)
    assert table.dtype == torch.float32
    assert not table.requires_grad
    torch.testing.assert_close(norms(losses), table)
    assert all(p.grad is None for p in module.parameters())
    module.double()
    assert (
        GradientNorms(module)(quadratic(module, torch.randn(3, 2).double())).dtype == torch.float64
    )


def test_the_graph_is_freed():
    module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    norms = GradientNorms(module)
    for samples in (3, 3, 4, 1, 1):
        losses = quadratic(module, torch.randn(samples, 2))
        norms(losses)
        with pytest.raises(RuntimeError, match="second time"):
            norms(losses)


def test_bfloat16_sums_in_float32():
    torch.manual_seed(0)
    module = nn.Linear(2, 2, bias=False).bfloat16()
    x = torch.randn(1, 4096, 2).bfloat16()
    losses = (module(x).float() * 1.0).sum((1, 2))
    table = GradientNorms(module)(losses)
    expected = 2 * x.double().sum((0, 1)).square().sum()
    assert table.dtype == torch.float32
    torch.testing.assert_close(table[0, 0].double(), expected, rtol=1e-4, atol=0)


def test_autocast():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    x = torch.randn(6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        losses = module(x).float().square().sum(1)
    table = GradientNorms(module)(losses)
    torch.testing.assert_close(table, GradientNorms(module)(quadratic(module, x)), rtol=0.1, atol=0)


@pytest.mark.parametrize("first", [True, False])
def test_a_sample_that_is_not_finite_spoils_no_other(first):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    norms, x = GradientNorms(module), torch.randn(5, 3)

    def losses(x):
        return (
            quadratic(module, x) + torch.where(x[:, 0] > 50, x[:, 0] * module[0].bias[0], 0.0).exp()
        )

    expected = norms(losses(x))
    strange = x.clone()
    strange[2, 0] = torch.inf if first else 1e38
    norms = GradientNorms(module) if first else norms
    table = norms(losses(strange))
    others = [0, 1, 3, 4]
    torch.testing.assert_close(table[others], expected[others])
    alone = squared_gradient_norms(losses, [strange[2:3]], list(module.parameters()))
    if first:
        assert not alone.isfinite().all()
        assert not table[2].isfinite().all()
    else:  # large and yet finite, as the loop finds it
        torch.testing.assert_close(table[2:3], alone)
    torch.testing.assert_close(norms(losses(x)), expected)


def test_disagreement_with_autograd_names_the_tensor(monkeypatch):
    from fimetric.gradients import rules
    from fimetric.gradients.contributions import Dense

    wrong = dict(rules.RULES)
    wrong["AddmmBackward0"] = lambda tap: Dense(torch.ones(tap.samples, *tap.shape))
    monkeypatch.setattr("fimetric.gradients.reader.RULES", wrong)
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="'weight' for sample"):
        GradientNorms(module)(quadratic(module, torch.randn(3, 2)))


def test_slow_operations_are_named_once(caplog):
    weight = nn.Parameter(torch.randn(2))
    norms, x = GradientNorms([("weight", weight)]), torch.randn(3, 2)
    with caplog.at_level(logging.INFO, "fimetric"):
        for _ in range(2):
            norms(torch.hypot(x, weight).sum(1))
    assert caplog.text.count("no fast rule for HypotBackward0") == 1


def test_a_normalisation_of_which_the_statistics_alone_are_used():
    """Autograd gives nothing to the weight for them, and nothing to what is below."""
    module = nn.ModuleList([nn.Conv1d(1, 4, 1), nn.GroupNorm(1, 4)])
    h, (weight, bias) = module[0](torch.randn(5, 1, 3)), module[1].parameters()
    mean = torch.native_group_norm(h, weight, bias, 5, 4, 3, 1, 1e-5)[1]
    table = GradientNorms(module)(mean.squeeze(1) + h.sum((1, 2)))
    assert table[:, :2].all() and not table[:, 2:].any()


def test_plans_are_bounded(monkeypatch):
    monkeypatch.setattr(plans, "PLANS", 2)
    module = nn.Linear(2, 2)
    norms = GradientNorms(module)
    for samples in (1, 2, 3, 4):
        norms(quadratic(module, torch.randn(samples, 2)))
    assert len(norms._engine.plans) == 2


def test_a_plan_is_reused(monkeypatch):
    made = []
    make_plan = engine.make_plan
    monkeypatch.setattr(engine, "make_plan", lambda *a, **k: made.append(1) or make_plan(*a, **k))
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2), nn.LayerNorm(2))
    norms = GradientNorms(module)
    for _ in range(3):
        norms(quadratic(module, torch.randn(3, 1, 4, 4)))
    assert len(made) == 1


def test_a_plan_made_on_a_strange_sample_is_not_reused(monkeypatch):
    made = []
    make_plan = engine.make_plan
    monkeypatch.setattr(engine, "make_plan", lambda *a, **k: made.append(1) or make_plan(*a, **k))
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    norms, x = GradientNorms(module), torch.randn(5, 3)
    strange = x.clone()
    strange[2, 0] = torch.nan
    for batch in (strange, x, x):
        norms(quadratic(module, batch))
    assert len(made) == 2  # one for the strange batch, one for all that follow
