"""Norms of chosen parameters alone: nothing below the lowest of them, nothing of the others."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from transformers import GPT2Config, GPT2LMHeadModel

from fimetric.gradients import GradientNorms, reader
from fimetric.gradients.reference import squared_gradient_norms

N, T, V, WIDTH = 4, 12, 50, 16
ROWS = N * T


class Text(nn.Module):
    """GPT-2 of four blocks with a tied head: token ids (N, T) -> losses (N,)."""

    def __init__(self):
        super().__init__()
        sizes = {"vocab_size": V, "n_positions": T, "n_embd": WIDTH, "n_layer": 4, "n_head": 2}
        self.model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()

    def forward(self, ids):
        logits = self.model(ids).logits
        return nn.functional.cross_entropy(logits[:, :-1].mT, ids[:, 1:], reduction="none").sum(1)


class Multiplications(TorchDispatchMode):
    """Counts those of matrix products, and which operations were called."""

    def __init__(self):
        super().__init__()
        self.count, self.called = 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        count = flop_registry.get(function._overloadpacket)
        self.count += count(*args, **(kwargs or {}), out_val=found) // 2 if count else 0
        self.called.append(function._overloadpacket.__name__)
        return found


def chosen(module, names):
    return [(n, p) for n, p in module.named_parameters() if n.removeprefix("model.") in names]


def made(names, frozen):
    """A model, those of its parameters that are chosen, and a batch."""
    torch.manual_seed(0)
    module = Text()
    if frozen:
        module.requires_grad_(False)
        for _, parameter in chosen(module, names):
            parameter.requires_grad_(True)
    return module, chosen(module, names), torch.randint(V, (N, T))


def work_of(norms, losses):
    """The multiplications and calls of one table, once all is learnt and checked."""
    for _ in range(3):
        norms(losses())
    made = losses()
    with Multiplications() as work:
        norms(made)
    return work


HEAD = ROWS * V * WIDTH  # multiplications of the input gradient of the head
BLOCK = 12 * ROWS * WIDTH**2  # of the four linear maps of a block
ATTENTION = 5 * N * T * T * WIDTH  # of attention's backward pass
NORMS = 4 * ROWS * WIDTH**2  # of one of these maps' norms, at most


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("names", "most"),
    [
        (["transformer.ln_f.weight"], HEAD),
        (["transformer.h.3.mlp.c_proj.weight"], HEAD + NORMS),
        (["transformer.h.3.mlp.c_fc.weight"], HEAD + NORMS + 4 * ROWS * WIDTH**2),
        (["transformer.h.2.mlp.c_proj.bias"], HEAD + BLOCK + ATTENTION),
        (["transformer.h.2.mlp.c_proj.weight"], HEAD + BLOCK + ATTENTION + NORMS),
        (["transformer.wpe.weight"], HEAD + 4 * (BLOCK + ATTENTION)),
    ],
)
def test_backpropagation_ends_at_the_lowest_and_no_other_norm_is_taken(names, most, frozen):
    module, parameters, ids = made(names, frozen)
    norms = GradientNorms(parameters)
    work = work_of(norms, lambda: module(ids))
    assert 0 < work.count <= most
    expected = squared_gradient_norms(module, ids.split(1), [p for _, p in parameters])
    torch.testing.assert_close(norms(module(ids)), expected, rtol=1e-4, atol=1e-12)
    everything = work_of(GradientNorms(module.requires_grad_(True)), lambda: module(ids))
    assert work.count < everything.count
    assert len(work.called) < len(everything.called)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("names", "uses"),
    [
        (["transformer.h.1.ln_2.bias"], ["NativeLayerNormBackward0"]),
        (["transformer.wte.weight"], ["MmBackward0", "EmbeddingBackward0"]),
        (
            ["transformer.h.0.ln_1.weight", "transformer.h.3.attn.c_attn.weight"],
            ["AddmmBackward0", "NativeLayerNormBackward0"],
        ),
    ],
)
def test_contributions_are_made_of_the_chosen_alone(names, uses, frozen, monkeypatch):
    module, parameters, ids = made(names, frozen)
    norms = GradientNorms(parameters)
    norms(module(ids))
    read = []
    plain = reader.Reader._contribution
    monkeypatch.setattr(
        reader.Reader,
        "_contribution",
        lambda self, tapped: read.append(tapped.node.name()) or plain(self, tapped),
    )
    table = norms(module(ids))
    assert read == uses
    assert table.shape == (N, len(names))
    expected = squared_gradient_norms(module, ids.split(1), [p for _, p in parameters])
    torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-12)


def test_chosen_columns_are_those_of_the_whole_table():
    module, _, ids = made([], frozen=False)
    whole = GradientNorms(module)
    columns = dict(zip(whole.names, whole(module(ids)).unbind(1), strict=True))
    for start in range(0, len(columns), 7):
        some = list(module.named_parameters())[start : start + 7]
        norms = GradientNorms(some)
        assert norms.names == [name for name, _ in some]
        expected = torch.stack([columns[name] for name in norms.names], 1)
        torch.testing.assert_close(norms(module(ids)), expected, rtol=1e-4, atol=1e-12)


class Product(nn.Module):
    """A weight made of two factors: each is chosen where the other is not."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2, 4))
        self.gain = nn.Parameter(torch.randn(3))

    def forward(self, x):
        return ((x @ (self.left @ self.right).T).tanh() * self.gain).square().sum(1)


@pytest.mark.parametrize("name", ["left", "right", "gain"])
@pytest.mark.parametrize("frozen", [False, True])
def test_one_factor_of_a_weight(name, frozen):
    torch.manual_seed(0)
    module, x = Product().double(), torch.randn(5, 4, dtype=torch.float64)
    if frozen:
        module.requires_grad_(False)
        getattr(module, name).requires_grad_(True)
    norms = GradientNorms([(name, getattr(module, name))])
    expected = squared_gradient_norms(module, x.split(1), [getattr(module, name)])
    for _ in range(2):
        torch.testing.assert_close(norms(module(x)), expected, rtol=1e-10, atol=0)
