"""One model, batches of any size and length: every one of them exact, by what the first taught.

FIMETRIC_EXAMPLES=100 takes as many sizes of each architecture, 500 in all.
"""

import os
import random

import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from fimetric.gradients import GradientNorms, colouring
from fimetric.gradients.reference import squared_gradient_norms

WORDS, SIZES = 20, int(os.environ.get("FIMETRIC_EXAMPLES", "8"))


def gpt2():
    config = GPT2Config(
        vocab_size=WORDS,
        n_embd=12,
        n_layer=2,
        n_head=3,
        n_positions=40,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def llama():
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=16,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40,
    )
    return LlamaForCausalLM(config)


def mamba():
    config = MambaConfig(vocab_size=WORDS, hidden_size=8, state_size=4, num_hidden_layers=1)
    return MambaForCausalLM(config)


class Recurrent(nn.Module):
    """An LSTM over tokens."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(WORDS, 6), nn.Linear(7, WORDS)
        self.lstm = nn.LSTM(6, 7, batch_first=True)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


class Convolutional(nn.Module):
    """A causal stack of dilated convolutions over tokens, as WaveNet."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(WORDS, 6), nn.Conv1d(6, WORDS, 1)
        self.layers = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=d) for d in (1, 2, 4))

    def forward(self, tokens):
        h = self.embedding(tokens).transpose(1, 2)
        for layer in self.layers:
            a, b = layer(nn.functional.pad(h, (layer.dilation[0], 0))).chunk(2, 1)
            h = h + a.tanh() * b.sigmoid()
        return self.head(h).transpose(1, 2)


ARCHITECTURES = {
    "GPT-2": gpt2,
    "Llama": llama,
    "Mamba": mamba,
    "LSTM": Recurrent,
    "WaveNet": Convolutional,
}


def made(name):
    torch.manual_seed(0)
    module = ARCHITECTURES[name]().double().eval()

    def losses(tokens):
        found = module(tokens)
        logits = getattr(found, "logits", found)[:, :-1].transpose(1, 2)
        return nn.functional.cross_entropy(logits, tokens[:, 1:], reduction="none").sum(1)

    return module, losses


def sizes(name):
    draw = random.Random(name)
    return [(draw.randint(1, 9), draw.randint(2, 40)) for _ in range(SIZES)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_size_and_length_is_exact(name):
    module, losses = made(name)
    norms, parameters = GradientNorms(module), list(module.parameters())
    for samples, length in sizes(name):
        tokens = torch.randint(WORDS, (samples, length))
        expected = squared_gradient_norms(losses, tokens.split(1), parameters)
        table = norms(losses(tokens))
        floor = 1e-24 * expected.sum(1, keepdim=True)  # structural zeros are rounding noise
        assert ((table - expected).abs() <= 1e-9 * expected + floor).all(), (samples, length)


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "WaveNet"])
def test_another_size_is_not_looked_at_again(name, monkeypatch):
    module, losses = made(name)
    norms, probes = GradientNorms(module), []
    norms(losses(torch.randint(WORDS, (4, 9))))  # a product may ask for a look, once
    probe = colouring.weighted_gradients
    monkeypatch.setattr(
        colouring, "weighted_gradients", lambda *given: probes.append(1) or probe(*given)
    )
    for samples, length in sizes(name):
        norms(losses(torch.randint(WORDS, (samples, length))))
    assert not probes
