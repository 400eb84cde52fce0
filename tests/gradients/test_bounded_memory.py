"""What the engine holds for a while stays small: against a budget, and against a training step."""

import pytest
import torch
from peaks import peak
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential
from transformers import GPT2Config, GPT2LMHeadModel

from fimetric.gradients import GradientNorms, columns
from fimetric.gradients.contributions import (
    Dense,
    Factors,
    Geometry,
    Patches,
    Rows,
    add,
    base,
    factors,
    patches,
    squared_norms,
    total,
)

BUDGET = 1 << 18
CHUNK = 1 << 22  # what temporaries of norms may take on a CPU
GOAL = 1.1  # of the peak of a training step


@pytest.fixture(autouse=True)
def small_budget(monkeypatch):
    for module in (base, columns, patches):
        monkeypatch.setattr(module, "budget", lambda device: BUDGET)


def wide(factors):
    return Factors(factors.u.double(), factors.v.double())


def linear(N=2, T=300, O=700, I=500, dtype=torch.float32):
    return Factors(torch.randn(N, T, O).to(dtype), torch.randn(N, T, I).to(dtype))


def tied(N=2, T=300, V=700, I=500):
    index = torch.randint(V, (N, T))
    index[:, -1] = index[:, 0]  # a token twice
    rows = Rows(index, torch.randn(N, T, I), V)
    return add([rows, Factors(torch.randn(N, T, V), torch.randn(N, T, I))])


def convolution(N=2, R=3, O=40, I=36, side=24):
    x, g = torch.randn(N, R, I, side, side), torch.randn(N, R, O, side, side)
    return Patches(x, g, torch.Size((O, I, 3, 3)), Geometry((1, 1), (1, 1), (1, 1)))


def written_out(N=3, O=700, I=500):
    return Dense(torch.randn(N, O, I))


def exact(contribution):
    return contribution.dense().double().flatten(1).square().sum(1)


@pytest.mark.parametrize("gram", [True, False])
@pytest.mark.parametrize("make", [linear, tied])
@pytest.mark.parametrize("N", [1, 3])
def test_either_form_of_a_matrix_stays_within_the_budget(make, gram, N, monkeypatch):
    """All positions' products take more than the budget, and so does one sample's matrix."""
    for module in (factors, total):
        monkeypatch.setattr(module, "gram_is_cheaper", lambda *shape: gram)
    torch.manual_seed(0)
    contribution = make(N)
    T, (O, I) = 300, contribution.shape
    assert 4 * T * T > BUDGET
    assert 4 * O * I > 4 * BUDGET
    expected = exact(contribution)
    found = []
    assert peak(lambda: found.append(contribution.squared_norms())) <= 5 * BUDGET
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("gram", [True, False])
def test_short_numbers_are_widened_within_the_budget(gram, monkeypatch):
    monkeypatch.setattr(factors, "gram_is_cheaper", lambda *shape: gram)
    contribution = linear(N=3, O=2100, dtype=torch.bfloat16)
    expected = exact(contribution)
    found = []
    held = peak(lambda: found.append(contribution.squared_norms()))
    # A block of positions, or the right factors of a sample, are the least that is widened.
    assert held <= 3 * BUDGET + 4 * (3 * 64 * 2600 if gram else 300 * 500)
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-4, atol=0)


def test_a_gradient_that_is_written_out_already_is_squared_within_the_budget():
    contribution = written_out()
    assert peak(contribution.squared_norms) <= 2 * BUDGET
    torch.testing.assert_close(contribution.squared_norms().double(), exact(contribution))


@pytest.mark.parametrize("make", [linear, tied, written_out, convolution])
def test_inner_products_are_taken_band_by_band(make):
    torch.manual_seed(0)
    contribution = make()
    flat = contribution.dense().double().flatten(1)
    torch.testing.assert_close(contribution.gram().double(), flat @ flat.mH, rtol=1e-4, atol=1e-2)
    if make is not convolution:  # which may hold its patches
        assert peak(contribution.gram) <= 6 * BUDGET


@pytest.mark.parametrize("make", [linear, tied, written_out, convolution])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 10**6])
def test_bands_make_up_the_tensor(make, count):
    small = {"N": 2, "O": 5, "I": 3} if make is not tied else {"N": 2, "V": 5, "I": 3}
    contribution = make(**small)
    bands = [band.dense() for band in contribution.bands(count)]
    assert len(bands) == {1: 1, 2: 2, 3: 3}.get(count, 5)
    torch.testing.assert_close(torch.cat(bands, 1), contribution.dense(), rtol=1e-4, atol=1e-4)


def test_a_band_without_a_token_is_zero():
    rows = Rows(torch.tensor([[0, 4], [4, 4]]), torch.randn(2, 2, 3), 6)
    first, middle, last = (band.dense() for band in rows.bands(3))
    assert torch.equal(middle, torch.zeros(2, 2, 3))
    torch.testing.assert_close(torch.cat([first, middle, last], 1), rows.dense())
    foreign = Rows(rows.index, torch.tensor([[[1.0], [torch.nan]], [[2.0], [3.0]]]), 6)
    assert foreign.band(0, 2).dense().isfinite().all()  # the NaN is in row 4


@pytest.mark.parametrize("shape", [{"O": 40}, {"O": 20}, {"R": 8, "side": 9}])
def test_windows_of_a_large_image_are_written_out_in_parts(shape):
    torch.manual_seed(0)
    contribution = convolution(**shape)
    whole = 4 * contribution.x[0].numel()
    assert contribution.bytes_unfolded() > 2 * BUDGET
    expected = exact(contribution)
    norms = patches.norms_unfolded(contribution)
    torch.testing.assert_close(norms.double(), expected, rtol=1e-4, atol=0)
    one = contribution[:1]
    # What a kernel offset meets of one sample, twice, and its padded image.
    assert peak(lambda: patches.norms_unfolded(one)) <= 4 * whole + 2 * BUDGET


def test_pixel_products_that_are_too_large_are_not_taken(monkeypatch):
    contribution = convolution(N=2, R=1, O=128, I=128, side=8)
    assert contribution.pixels_are_cheaper()
    expected = contribution.squared_norms()
    monkeypatch.setattr(patches, "LARGEST", 1 << 10)
    monkeypatch.setattr(patches, "norms_by_pixels", None)
    torch.testing.assert_close(contribution.squared_norms(), expected, rtol=1e-4, atol=0)


class Layers(nn.Module):
    """Activations take several times the memory of the weights, which are many."""

    def __init__(self, checkpointed=False):
        super().__init__()
        pairs = [nn.Sequential(nn.Linear(256, 256), nn.Tanh()) for _ in range(12)]
        self.layers, self.checkpointed = nn.Sequential(*pairs), checkpointed

    def forward(self, x):
        if self.checkpointed:
            return (
                checkpoint_sequential(self.layers, 4, x, use_reentrant=False).square().sum((1, 2))
            )
        return self.layers(x).square().sum((1, 2))


class Text(nn.Module):
    """GPT-2 with most of its parameters in a tied embedding and head."""

    def __init__(self):
        super().__init__()
        sizes = {"vocab_size": 5000, "n_positions": 16, "n_embd": 64, "n_layer": 2, "n_head": 2}
        self.model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()

    def forward(self, ids):
        logits = self.model(ids).logits
        return nn.functional.cross_entropy(logits[:, :-1].mT, ids[:, 1:], reduction="none").sum(1)


def step_of(module, x):
    held = peak(lambda: module(x).sum().backward())
    module.zero_grad(set_to_none=True)
    return held


@pytest.mark.parametrize("N", [1, 4])
def test_first_and_later_calls_take_the_memory_of_a_training_step(N):
    torch.manual_seed(0)
    module, x = Layers(), torch.randn(N, 1024 // N, 256)
    norms, step = GradientNorms(module), step_of(module, x)
    for _ in range(3):
        assert peak(lambda: norms(module(x))) <= step + CHUNK
    assert peak(lambda: norms.measure(module(x))) <= step + CHUNK


def test_a_checkpointed_model_holds_one_region_at_a_time():
    torch.manual_seed(0)
    module, x = Layers(checkpointed=True), torch.randn(8, 128, 256)
    norms, step = GradientNorms(module), step_of(module, x)
    for _ in range(3):  # what a checkpoint has computed anew stays where the graph does
        assert peak(lambda: norms(module(x))) <= step + 2 * CHUNK


@pytest.mark.parametrize("N", [1, 4])
def test_later_calls_on_a_tied_embedding_take_the_memory_of_a_training_step(N):
    torch.manual_seed(0)
    module, ids = Text(), torch.randint(5000, (N, 16))
    norms, step = GradientNorms(module), step_of(module, ids)
    for _ in range(2):  # learns, and is checked
        norms(module(ids))
    assert peak(lambda: norms(module(ids))) <= GOAL * step


def test_norms_of_ordinary_gradients_take_hooks_and_sparse_gradients_as_they_are():
    large, small = nn.Embedding(2000, 64, sparse=True), nn.Linear(64, 2000)
    losses = small(large(torch.tensor([[3, 3, 7]]))).square().sum((1, 2))
    small.weight.register_hook(lambda g: 2 * g)
    parameters = [large.weight, small.weight, small.bias]
    gradients = torch.autograd.grad(losses, parameters, torch.ones(1), retain_graph=True)
    expected = [squared_norms(g.to_dense().unsqueeze(0)) for g in gradients]
    both = nn.ModuleList([large, small])
    torch.testing.assert_close(GradientNorms(both)(losses), torch.stack(expected, 1))
    assert list(small.weight._backward_hooks)  # the user's own is still there
