"""The known holes of reading sample colours, each a case."""

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import Scale

from fimetric.gradients import GradientNorms, MixedSamplesError, engine
from fimetric.gradients.colouring import (
    CODES,
    LOWEST,
    Uncoloured,
    _append_digit,
    _decode,
    _known,
    _sample_of_code,
    probe_exponents,
)
from fimetric.gradients.contributions import squared_norms
from fimetric.gradients.layout import Colours, Layout, Ragged, fit_layout
from fimetric.gradients.reference import gradients_one_by_one, squared_gradient_norms


def decoded(gradients, exponents):
    """Colour one tensor from the samples' gradients (N, *shape) of it."""
    one = gradients.sum(0)
    code = _known(one)
    for column in exponents.T:
        weights = torch.exp2(column.to(gradients.dtype)).view(-1, *[1] * one.dim())
        code = _append_digit(code, one, (gradients * weights).sum(0))
    return _decode(code, _sample_of_code(exponents), len(gradients))


def test_one_probe_can_lie_and_two_do_not():
    """Gradients 2, 0, 1 add up to the ratio of the sample between them."""
    gradients = torch.tensor([2.0, 0.0, 1.0]).view(3, 1)
    lying = torch.tensor([[0], [1], [3]])  # (2 * 1 + 1 * 8) / 3 is no power, so choose one that is
    lying[2] = 2  # (2 * 1 + 1 * 4) / 3 = 2, the power of sample 1
    assert not isinstance(decoded(gradients, lying), Uncoloured)
    two = torch.cat([lying, torch.tensor([[2], [0], [1]])], 1)
    assert decoded(gradients, two) is Uncoloured.MIXED
    for samples in (3, 16, 17, 300):
        mixed = torch.zeros(samples, 1)
        mixed[:3, 0] = torch.tensor([2.0, 0.0, 1.0])
        assert decoded(mixed, probe_exponents(samples, 3)) is Uncoloured.MIXED


def test_exponents_tell_all_samples_apart_and_stay_small():
    for samples, probes in [(2, 2), (16, 2), (17, 3), (256, 3), (4000, 4)]:
        exponents = probe_exponents(samples, probes)
        assert len(exponents.unique(dim=0)) == samples
        assert exponents.min() >= LOWEST
        assert exponents.max() < LOWEST + CODES


def test_zero_against_non_zero_is_mixed():
    gradients = torch.tensor([1.0, -1.0]).view(2, 1).repeat(1, 2)
    gradients[:, 1] = torch.tensor([3.0, 0.0])
    assert decoded(gradients, probe_exponents(2, 2)) is Uncoloured.MIXED


def test_denormal_numbers_are_unknown_and_not_wrong():
    tiny = torch.finfo(torch.float32).tiny
    gradients = torch.zeros(2, 2, 1)
    gradients[0, 0], gradients[1, 1] = tiny / 3, 1.0
    assert decoded(gradients, probe_exponents(2, 2)) == Layout(0, 1, 2, 1, sure=False)
    gradients[1, 1] = 0
    assert decoded(gradients, probe_exponents(2, 2)) is Uncoloured.UNKNOWN


@pytest.mark.parametrize("layout", [Layout(0, 1, 4, 3), Layout(0, 3, 4, 1), Layout(1, 2, 4, 5)])
def test_layouts_are_found_and_split(layout):
    shape = [2, 2]
    shape[layout.dim] = layout.outer * layout.samples * layout.inner
    index = torch.arange(shape[layout.dim]).div(layout.inner, rounding_mode="floor") % 4
    view = [1, 1]
    view[layout.dim] = -1
    index = index.view(view).expand(shape).clone()
    assert fit_layout(index, 4) == layout
    assert (layout.split(index).flatten(1) == torch.arange(4).unsqueeze(1)).all()
    assert torch.equal(layout.only(index + 1, 2) > 0, index == 2)
    flat = index.flatten()
    flat[[0, -1]] = flat[[-1, 0]]
    assert isinstance(fit_layout(flat.view(shape), 4), Colours)


def test_too_few_known_entries_make_no_sure_layout():
    index = torch.full((6,), -1)
    index[2], index[5] = 0, 1  # the last of three rows each, or rows in turn
    assert not fit_layout(index, 2).sure
    index = torch.tensor([0, -1, 1, 1])  # a row that one sample uses and the other does not
    assert fit_layout(index, 2) == Layout(0, 1, 2, 2, sure=False)


def batch_norm(x):
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    return module, module(x).square().sum(1), "NativeBatchNormBackward0"


def batch_norm_on_the_input(x):
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    return module, module(x).square().sum(1), "NativeBatchNormBackward0"


def in_batch_negatives(x):
    module = nn.Linear(4, 3)
    h = module(x)
    target = torch.arange(len(x))
    return module, nn.functional.cross_entropy(h @ h.T, target, reduction="none"), "MmBackward0"


def batch_mean(x):
    module = nn.Linear(4, 3)
    h = module(x)
    return module, (h - h.mean(0)).square().sum(1), "SubBackward0"


@pytest.mark.parametrize(
    "mixing", [batch_norm, batch_norm_on_the_input, in_batch_negatives, batch_mean]
)
@pytest.mark.parametrize("samples", [4, 7])
def test_mixing_is_refused_and_named(mixing, samples):
    torch.manual_seed(0)
    module, losses, operation = mixing(torch.randn(samples, 4))
    with pytest.raises(MixedSamplesError, match=operation):
        GradientNorms(module)(losses)


@pytest.mark.parametrize("samples", [3, 4, 5, 8])
def test_samples_that_use_channels_of_their_own_are_not_mixed(samples):
    scale = nn.Parameter(torch.randn(2 * samples))
    own = torch.eye(samples).repeat_interleave(2, 1)
    table = GradientNorms([("scale", scale)])(((3 * scale).exp() * own).sum(1))
    expected = (own * 3 * (3 * scale).exp()).square().sum(1, keepdim=True)
    torch.testing.assert_close(table, expected.detach())


def test_rows_sorted_by_data_are_coloured_anew():
    """The graph looks the same in both batches; the map from rows to samples does not."""
    torch.manual_seed(1)
    linear = nn.Linear(3, 2).double()

    def losses(x):
        rows = x.reshape(-1, 3)
        order = rows[:, 0].argsort()
        out = linear(rows[order]).square().sum(1)
        return (
            torch.zeros(len(rows), dtype=x.dtype).index_copy(0, order, out).view(len(x), -1).sum(1)
        )

    norms = GradientNorms(linear)
    ordered = torch.arange(12.0, dtype=torch.float64).view(4, 3, 1).expand(4, 3, 3).clone()
    for batch in (ordered, torch.randn_like(ordered), ordered.flip(0)):
        expected = squared_gradient_norms(losses, batch.split(1), list(linear.parameters()))
        torch.testing.assert_close(norms(losses(batch)), expected, rtol=1e-10, atol=0)


def test_a_table_whose_rows_look_like_samples():
    """Each row is used by one sample, in order, in the first batch and not in the second."""
    table = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    norms = GradientNorms([("table", table)])

    def losses(rows):
        return (2 * table)[rows].square().sum((1, 2))

    for rows in ([[0], [1], [2], [3]], [[3], [1], [1], [0]], [[0], [0], [0], [0]]):
        batch = torch.tensor(rows)
        expected = squared_gradient_norms(losses, batch.split(1), [table])
        torch.testing.assert_close(norms(losses(batch)), expected, rtol=1e-10, atol=0)


def test_a_zero_layer_that_is_trained_later():
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    nn.init.zeros_(module[2].weight)
    norms, batch = GradientNorms(module), torch.randn(5, 3, dtype=torch.float64)

    def losses(x):
        return (module(x) - 1).square().sum(1)

    assert not norms(losses(batch))[:, :2].any()
    nn.init.normal_(module[2].weight)
    expected = squared_gradient_norms(losses, batch.split(1), list(module.parameters()))
    torch.testing.assert_close(norms(losses(batch)), expected, rtol=1e-10, atol=0)


def test_another_branch_gets_another_plan():
    torch.manual_seed(3)
    module = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]).double()
    norms = GradientNorms(module)

    def losses(x, turned):
        h = module[0](x)
        h = h.unsqueeze(1).expand(-1, 3, -1)
        h = h.transpose(1, 2) if turned else h
        return (module[1](h) * torch.arange(3)).square().sum((1, 2))

    for turned, samples in [(False, 3), (True, 3), (False, 4), (False, 3)]:
        batch = torch.randn(samples, 3, dtype=torch.float64)
        expected = squared_gradient_norms(
            lambda x, turned=turned: losses(x, turned), batch.split(1), list(module.parameters())
        )
        torch.testing.assert_close(norms(losses(batch, turned)), expected, rtol=1e-10, atol=0)


def assert_exact_in_every_batch(losses, parameters, batches):
    norms = GradientNorms(list(parameters))
    for batch in batches:
        expected = squared_gradient_norms(losses, batch.split(1), [p for _, p in parameters])
        torch.testing.assert_close(norms(losses(batch)), expected, rtol=1e-9, atol=1e-18)


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_rows_of_a_codebook_that_samples_happen_to_use():
    torch.manual_seed(4)
    codes = nn.Parameter(double(16, 5))
    made_of = {
        "softplus": lambda: nn.functional.softplus(codes),
        "constant": lambda: codes * 2.0,
    }
    for code in made_of.values():
        assert_exact_in_every_batch(
            lambda x, code=code: (x[:, None] - code()).square().sum(-1).min(1).values,
            [("codes", codes)],
            [double(2, 5) for _ in range(20)],
        )


def test_one_hot_labels_that_swap():
    torch.manual_seed(5)
    weight = nn.Parameter(double(2, 3))

    def losses(labels):
        one_hot = nn.functional.one_hot(labels, 2).double()
        return (one_hot @ nn.functional.softplus(weight) - 1).square().sum(1)

    batches = [torch.tensor(y) for y in ([0, 1], [1, 0], [1, 1])]
    assert_exact_in_every_batch(losses, [("weight", weight)], batches)


def test_permutation_by_a_matrix_product():
    torch.manual_seed(6)
    linear = nn.Linear(3, 2).double()

    def losses(x):
        order = nn.functional.one_hot(x[:, 0].argsort(), len(x)).double()
        return order.T @ linear(order @ x).square().sum(1)

    x = double(4, 3)
    batches = [x[x[:, 0].argsort()], x, x.flip(0)]
    assert_exact_in_every_batch(losses, list(linear.named_parameters()), batches)


def test_ragged_sums_with_other_lengths():
    torch.manual_seed(7)
    linear, x = nn.Linear(3, 2).double(), double(9, 3)
    norms = GradientNorms(linear)
    for lengths in ([3, 3, 3], [2, 4, 3], [5, 1, 3]):
        rows = linear(x).square().sum(1)
        summed = torch.segment_reduce(rows, "sum", lengths=torch.tensor(lengths))
        parts = x.split(lengths)
        expected = squared_gradient_norms(
            lambda part: linear(part).square().sum(1), parts, list(linear.parameters())
        )
        torch.testing.assert_close(norms(summed), expected, rtol=1e-9, atol=0)


def test_rows_that_are_masked_by_the_data():
    torch.manual_seed(8)
    linear, x = nn.Linear(3, 2).double(), double(6, 3)
    norms = GradientNorms(linear)
    for mask in ([1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1]):
        rows = linear(x).square().sum(1) * torch.tensor(mask)
        expected = squared_gradient_norms(
            lambda part: linear(part).square().sum(1),
            [x[:4][torch.tensor(mask[:4]).bool()], x[4:][torch.tensor(mask[4:]).bool()]],
            list(linear.parameters()),
        )
        found = norms(torch.stack([rows[:4].sum(), rows[4:].sum()]))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_rows_of_unlike_samples_that_are_masked_by_the_data():
    """A row that was zero in the first batch has an owner all the same."""
    torch.manual_seed(8)
    linear, owner = nn.Linear(3, 2).double(), torch.tensor([0, 0, 1, 1, 1, 1, 2])
    norms = GradientNorms(linear)
    hidden, shown = [1, 1, 0, 1, 1, 1, 1], [1] * 7
    for mask in (hidden, hidden, shown, hidden):  # the second is compared with autograd
        rows = linear(double(7, 3)).square().sum(1) * torch.tensor(mask)
        losses = torch.zeros(3, dtype=torch.float64).index_add(0, owner, rows)
        one_by_one = gradients_one_by_one(losses, list(linear.parameters()))
        expected = torch.stack([squared_norms(g) for g in one_by_one], 1)
        torch.testing.assert_close(norms(losses), expected, rtol=1e-9, atol=0)


def test_one_row_among_many_samples_has_an_axis():
    layout = fit_layout(torch.full((1, 6), 11), 12)
    assert isinstance(layout, Ragged) and layout.sure
    found = layout.split(torch.ones(1, 6))
    assert found.shape == (12, 1, 6) and found.sum((1, 2)).tolist() == [0.0] * 11 + [6.0]


class Routed(torch.autograd.Function):
    """Sends samples through rows in an order that no index tensor of the graph shows."""

    @staticmethod
    def forward(ctx, x, order):
        ctx.order = order
        return x[order]

    @staticmethod
    def backward(ctx, g):
        return torch.empty_like(g).index_copy(0, ctx.order, g), None


def routed(function, linear, order_of):
    def losses(x):
        order = order_of(x)
        rows = linear(function(x * linear.bias.sum(), order)).square().sum(1)
        return function(rows, order.argsort())

    return losses


def test_routing_inside_a_function_is_read_anew_in_every_batch(caplog):
    torch.manual_seed(9)
    linear, x = nn.Linear(3, 2).double(), double(4, 3)
    losses = routed(Routed.apply, linear, first_column_order)
    batches = [x[x[:, 0].argsort()], x, x.flip(0), x[[1, 0, 3, 2]]]
    assert_exact_in_every_batch(losses, list(linear.named_parameters()), batches)
    assert "changes with the data" not in caplog.text


def first_column_order(x):
    return x[:, 0].argsort()


class Hidden(torch.autograd.Function):
    """Keeps the order where no one sees it."""

    order: ClassVar[dict] = {}

    @staticmethod
    def forward(ctx, x, order):
        Hidden.order[len(x.shape)] = order
        return x[order]

    @staticmethod
    def backward(ctx, g):
        return torch.empty_like(g).index_copy(0, Hidden.order[len(g.shape)], g), None


def test_hidden_routing_is_noticed_and_never_trusted_again(caplog, monkeypatch):
    """The last line of defence, if an operation were listed as structural and were not."""
    monkeypatch.setattr("fimetric.gradients.plan.may_route", lambda *given: False)
    torch.manual_seed(9)
    linear, x = nn.Linear(3, 2).double(), double(4, 3)
    losses = routed(Hidden.apply, linear, first_column_order)
    norms = GradientNorms(linear)
    for batch in [x[x[:, 0].argsort()], x, x.flip(0), x[[1, 0, 3, 2]]]:
        table = norms(losses(batch))
        expected = squared_gradient_norms(losses, batch.split(1), list(linear.parameters()))
        torch.testing.assert_close(table, expected, rtol=1e-9, atol=1e-18)
    assert "in a way that changes with the data" in caplog.text


def test_counts_over_the_batch_are_refused():
    table = nn.Embedding(5, 3, scale_grad_by_freq=True)
    with pytest.raises(MixedSamplesError, match="EmbeddingBackward0"):
        GradientNorms(table)(table(torch.tensor([1, 1, 2])).square().sum(1))


def test_functions_whose_other_input_depends_on_the_parameter_too():
    torch.manual_seed(10)
    p = nn.Parameter(double(3))
    for losses in (
        lambda x: Scale.apply(x * p, p).square().sum(1),
        lambda x: Scale.apply(Scale.apply(x, p), p).square().sum(1),
        lambda x: Scale.apply(x * p.exp(), p.exp()).square().sum(1),
    ):
        assert_exact_in_every_batch(losses, [("p", p)], [double(4, 3) for _ in range(2)])


def test_float32_denormals_below_a_cast_to_float64():
    torch.manual_seed(11)
    linear, scale = nn.Linear(4, 4).double(), torch.tensor([1.0, 1.0, 1.0, 1e-20])
    losses = lambda x: (linear(x).float() * scale).square().sum(1)  # noqa: E731
    norms, batch = GradientNorms(linear), double(5, 4)
    expected = squared_gradient_norms(losses, batch.split(1), list(linear.parameters()))
    torch.testing.assert_close(norms(losses(batch)), expected, rtol=1e-5, atol=0)


class Experts(nn.Module):
    """Grouped matrix product of rows sorted by expert; some experts may get none."""

    def __init__(self, stored_transposed):
        super().__init__()
        shape = (3, 8, 4) if stored_transposed else (3, 4, 8)
        self.weight = nn.Parameter(torch.randn(shape))
        self.stored_transposed = stored_transposed

    def forward(self, x):
        rows = x.reshape(-1, 4)
        expert = (rows[:, 0] > 0).long() + (rows[:, 0] > 1).long()
        order = expert.argsort(stable=True)
        ends = torch.bincount(expert, minlength=3).cumsum(0).int()
        weight = self.weight.mT if self.stored_transposed else self.weight
        out = F.grouped_mm(rows[order], weight, offs=ends)
        return torch.zeros_like(out).index_copy(0, order, out).view(len(x), -1).square().sum(1)


@pytest.mark.parametrize("stored_transposed", [False, True])
def test_experts_by_a_grouped_product(stored_transposed, caplog):
    torch.manual_seed(12)
    experts = Experts(stored_transposed)
    norms = GradientNorms(experts)
    with caplog.at_level("INFO", "fimetric"):
        for scale in (1.0, 0.1, 10.0, -1.0):
            batch = scale * torch.randn(4, 6, 4)
            expected = squared_gradient_norms(experts, batch.split(1), [experts.weight])
            torch.testing.assert_close(norms(experts(batch)), expected, rtol=1e-4, atol=0)
    assert "no fast rule" not in caplog.text


def pooled_by_a_vector_product(h, owner):
    return F.one_hot(owner, 4).double().T @ h.square().sum(1)


def pooled_by_a_mask(h, owner):
    return (F.one_hot(owner, 4).double().T * h.square().sum(1)).sum(1)


def pooled_by_a_choice(h, owner):
    chosen = F.one_hot(owner, 4).T > 0
    return torch.where(chosen, h.square().sum(1), 0.0).sum(1)


def pooled_after_a_product(h, owner):
    return (F.one_hot(owner, 4).double()[:, :, None] * h[:, None]).sum(0).square().sum(1)


def pooled_by_dots(h, owner):
    rows = h.square().sum(1)
    return torch.stack([F.one_hot(owner, 4).double()[:, n].dot(rows) for n in range(4)])


def pooled_sparsely(h, owner):
    return torch.sparse.mm(F.one_hot(owner, 4).double().T.to_sparse(), h).square().sum(1)


def pooled_by_a_bilinear_layer(h, owner):
    weight = F.one_hot(owner, 4).double().T.unsqueeze(2).contiguous()
    return F.bilinear(h.T.contiguous(), h.new_ones(h.shape[1], 1), weight).square().sum(0)


def pooled_by_writing(h, owner):
    out = torch.zeros(8, h.shape[1], dtype=h.dtype)
    for row, place in enumerate(owner.argsort(stable=True).argsort()):
        out[place] = h[row]
    sizes = torch.bincount(owner, minlength=4).tolist()
    return torch.stack([part.square().sum() for part in out.split(sizes)])


def pooled_by_writing_into_a_view(h, owner):
    """An in-place operation on a view hides its index; it is written twice, once a step."""
    out, places = torch.zeros(9, h.shape[1], dtype=h.dtype), owner.argsort(stable=True).argsort()
    for half in (slice(0, 4), slice(4, 8)):
        out[1:][places[half]] = h[half]
    return out[1:].view(4, 2, -1).square().sum((1, 2))


def pooled_by_reduction(h, owner):
    return torch.zeros(4, dtype=h.dtype).index_reduce(0, owner, h.square().sum(1), "mean")


@pytest.mark.parametrize(
    "pooled",
    [
        pooled_by_a_vector_product,
        pooled_by_a_mask,
        pooled_by_a_choice,
        pooled_after_a_product,
        pooled_by_dots,
        pooled_sparsely,
        pooled_by_a_bilinear_layer,
        pooled_by_writing,
        pooled_by_writing_into_a_view,
        pooled_by_reduction,
    ],
)
@pytest.mark.filterwarnings("ignore:index_reduce")
def test_rows_pooled_by_data(pooled):
    """Which rows make up a sample is in numbers, not in the graph; no check may be needed."""
    torch.manual_seed(13)
    linear = nn.Linear(6, 6).double()
    norms = GradientNorms(linear)
    for owner in (
        [0, 0, 1, 1, 2, 2, 3, 3],
        [0, 0, 1, 1, 2, 2, 3, 3],
        [0, 0, 1, 1, 2, 3, 3, 3],
        [3, 0, 1, 1, 2, 2, 0, 0],
        [0, 1, 2, 3, 0, 1, 2, 3],
    ):
        x, rows = double(8, 6), torch.tensor(owner)
        one_by_one = [pooled(linear(x).tanh(), rows)[n : n + 1] for n in range(4)]
        expected = torch.cat(
            [gradients_squared(losses, list(linear.parameters())) for losses in one_by_one]
        )
        table = norms(pooled(linear(x).tanh(), rows))
        torch.testing.assert_close(table, expected, rtol=1e-9, atol=0)


def test_rows_written_by_data_in_few_bits(monkeypatch):
    """Bfloat16 has too few numbers to ask an in-place operation where it writes."""
    torch.manual_seed(13)
    made, make_plan = [], engine.make_plan
    counted = lambda *given, **named: made.append(1) or make_plan(*given, **named)  # noqa: E731
    monkeypatch.setattr(engine, "make_plan", counted)
    linear = nn.Linear(6, 6).bfloat16()
    norms, x = GradientNorms(linear), torch.randn(8, 6).bfloat16()
    for owner in ([0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3, 0, 1, 2, 3]):
        losses = pooled_by_writing_into_a_view(linear(x), torch.tensor(owner))
        one_by_one = gradients_one_by_one(losses, list(linear.parameters()))
        expected = torch.stack([squared_norms(g) for g in one_by_one], 1)
        torch.testing.assert_close(norms(losses), expected, rtol=0.05, atol=0)
    assert len(made) == 3


def gradients_squared(losses, parameters):
    found = torch.autograd.grad(losses.sum(), parameters)
    return torch.stack([g.square().sum() for g in found]).unsqueeze(0)


@pytest.mark.parametrize("scale", [1e5, 1e9])
@pytest.mark.parametrize("outliers", [[4], [1, 6]])
def test_outliers_hide_no_other_sample(scale, outliers):
    """A masked weight collects the gradients of all samples, and large ones drown small ones."""
    torch.manual_seed(14)
    weight = nn.Parameter(torch.randn(5, 6))
    mask = torch.tril(torch.ones(5, 6))
    x = torch.randn(8, 6)
    x[outliers] *= scale
    losses = lambda x: F.linear(x, weight * mask).square().sum(1)  # noqa: E731
    expected = squared_gradient_norms(losses, x.split(1), [weight])
    torch.testing.assert_close(
        GradientNorms([("weight", weight)])(losses(x)), expected, rtol=1e-4, atol=0
    )


def test_half_precision():
    torch.manual_seed(15)
    linear = nn.Linear(3, 2).half()
    x = torch.randn(4, 3).half()
    losses = lambda x: linear(x).square().sum(1)  # noqa: E731
    expected = squared_gradient_norms(losses, x.split(1), list(linear.parameters()))
    torch.testing.assert_close(GradientNorms(linear)(losses(x)), expected, rtol=2e-2, atol=0)
