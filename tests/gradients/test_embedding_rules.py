"""Embeddings and embedding bags, against the loop."""

import pytest
import torch
from against_loop import assert_equals_the_loop, no_calls, table_by_loop
from torch import nn

from fimetric.gradients import GradientNorms

V, D, N = 7, 3, 5
MODES = ("sum", "mean", "max")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    torch.manual_seed(0)
    no_calls(monkeypatch)


def weighed(h):
    """A loss per row: its entries get gradients of their own."""
    return (h.pow(3) * torch.arange(1.0, h.shape[-1] + 1, dtype=h.dtype)).sum(-1)


def bag(mode, **options):
    return nn.EmbeddingBag(V, D, mode=mode, dtype=torch.float64, **options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, N, 12])
def test_bags_of_one_length(mode, size):
    """Among so few rows some are used several times in a bag."""
    module = bag(mode)
    batches = [torch.randint(V, (N, size)) for _ in range(3)]
    assert_equals_the_loop(module, lambda x: weighed(module(x)), batches)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("padding", [None, 2, -1])
def test_bags_of_any_length(mode, last, padding):
    """The first and the last are empty, one holds nothing but padding, one most of all."""
    module = bag(mode, include_last_offset=last, padding_idx=padding)
    rows = torch.cat([torch.tensor([2, 2, 6, 2, 2]), torch.randint(V, (30,)), torch.tensor([6, 6])])
    offsets = torch.tensor([0, 0, 3, 5, 35, 37][: None if last else 6])
    offsets = torch.cat([offsets, offsets[-1:]]) if last else offsets

    def losses(x):
        return weighed(module(x, offsets)) + module.weight[1].square().sum()

    assert_equals_the_loop(module, losses, [rows, rows.flip(0), rows.roll(1)])


@pytest.mark.parametrize("mode", MODES)
def test_several_bags_to_a_sample(mode):
    module = bag(mode)
    offsets = torch.tensor([0, 2, 3, 7, 7, 9])
    batches = [torch.randint(V, (10,)) for _ in range(2)]
    together = lambda x: weighed(module(x, offsets).view(3, 2, D)).sum(1)  # noqa: E731
    assert_equals_the_loop(module, together, batches)
    apart = lambda x: weighed(module(x, offsets).view(2, 3, D)).sum(0)  # noqa: E731
    assert_equals_the_loop(module, apart, batches)


def test_bags_in_an_order_of_their_own():
    module = bag("sum")
    order = torch.tensor([3, 0, 0, 2, 1, 1, 3, 2])
    batches = [torch.randint(V, (8, 4)) for _ in range(2)]

    def losses(x):
        return torch.zeros(4, dtype=torch.float64).index_add(0, order, weighed(module(x)))

    assert_equals_the_loop(module, losses, batches)


def test_weights_of_positions():
    """Weights from data, from a shared parameter and from a layer; some are zero."""
    module = nn.ModuleDict({"bag": bag("sum", padding_idx=1), "layer": nn.Linear(4, 4)}).double()
    module.register_parameter("place", nn.Parameter(torch.randn(4, dtype=torch.float64)))
    x, rows = torch.randn(N, 4, dtype=torch.float64), torch.randint(V, (N, 4))
    x[0, 0] = 0

    def losses(x):
        kinds = x, module["layer"](x), module.place * x
        return sum(weighed(module["bag"](rows, per_sample_weights=w)) for w in kinds)

    assert_equals_the_loop(module, losses, [x, x.flip(0)])


def test_bags_of_changing_lengths_with_weights_of_a_layer():
    """What is learned of whose weights are whose holds for these lengths only."""
    module = nn.ModuleDict({"bag": bag("sum"), "layer": nn.Linear(1, 1)}).double()
    rows, x = torch.randint(V, (12,)), torch.randn(12, 1, dtype=torch.float64)

    def losses(offsets):
        weights = module["layer"](x).squeeze(1)
        return weighed(module["bag"](rows, offsets, per_sample_weights=weights))

    regular, other = torch.tensor([0, 3, 6, 9]), torch.tensor([0, 5, 6, 11])
    norms = GradientNorms(module)
    for offsets in [regular, regular, other, regular]:  # the second is compared with autograd
        expected = table_by_loop(losses(offsets), list(module.parameters()))
        torch.testing.assert_close(norms(losses(offsets)), expected, rtol=1e-10, atol=0)


def test_table_tied_to_a_head():
    module = bag("mean")

    def losses(x):
        return weighed(torch.tanh(module(x)) @ module.weight.T)

    assert_equals_the_loop(module, losses, [torch.randint(V, (V, 3)) for _ in range(2)])


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_without_finite_gradient(mode):
    module = bag(mode)
    scale = torch.tensor([[1.0], [torch.nan], [torch.inf], [1.0]], dtype=torch.float64)

    def losses(rows, samples=slice(None)):
        bags = module(rows, torch.tensor([0, 3, 3, 5]))
        return (bags[samples] * scale[samples]).sum(1)

    rows = torch.randint(V, (9,))
    alone = [losses(rows, slice(n, n + 1)) for n in range(4)]
    expected = torch.cat([table_by_loop(loss, [module.weight]) for loss in alone])
    table = GradientNorms(module)(losses(rows))
    torch.testing.assert_close(table, expected, rtol=1e-12, atol=0, equal_nan=True)
    assert table.isfinite().flatten().tolist() == [True, True, False, True]


@pytest.mark.parametrize("mode", MODES)
def test_one_sample(mode):
    module = bag(mode)
    batches = [torch.randint(V, (1, 6)), torch.randint(V, (1, 6))]
    assert_equals_the_loop(module, lambda x: weighed(module(x)), batches)


@pytest.mark.parametrize("make", [nn.Embedding, nn.EmbeddingBag])
def test_sparse_gradients(make):
    options = {} if make is nn.Embedding else {"mode": "sum"}
    module = make(V, D, sparse=True, **options).double()
    batches = [torch.randint(V, (N, 4)) for _ in range(2)]
    assert_equals_the_loop(module, lambda x: weighed(module(x).view(N, -1)), batches)


def test_terms_that_cancel():
    """Two bags of a sample whose gradients cancel in float32, but for a small rest."""
    table = nn.EmbeddingBag(V, 64, mode="sum")
    weight = torch.randn(4, 1, 64).expand(4, 2, 64) * torch.tensor([[1.0], [-1.0]])
    weight = weight + 1e-4 * torch.randn(4, 2, 64)
    rows = torch.randint(V, (4, 1, 3)).expand(4, 2, 3).reshape(8, 3)
    found = GradientNorms(table)((table(rows).view(4, 2, 64) * weight).sum((1, 2)))
    counts = nn.functional.one_hot(rows.view(4, 2, 3)[:, 0], V).sum(1).double()
    expected = counts.square().sum(1) * weight.double().sum(1).square().sum(1)
    torch.testing.assert_close(found[:, 0].double(), expected, rtol=1e-4, atol=0)
