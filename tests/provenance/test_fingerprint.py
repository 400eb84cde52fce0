"""The fingerprint changes with whatever a module is made of, and with nothing else."""

import copy
import dataclasses
import types

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from fimetric.fingerprint import model as fingerprint
from fimetric.fingerprint.model import Watched, model_fingerprint
from fimetric.objectives import Objective


class Configured(nn.Module):
    """Parts of every kind that a loss can hang on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3))
        self.register_buffer("saved", torch.ones(2))
        self.register_buffer("unsaved", torch.arange(3.0), persistent=False)
        self.theta, self.sizes, self.table = 1.5, [1, (2, 3)], {"a": 1}
        self.array, self.mask = np.arange(4), torch.eye(2)
        self.config = types.SimpleNamespace(rope_theta=10000.0, act="gelu")
        self.activation = torch.relu
        self.others = [nn.Linear(2, 2)]

    def forward(self, x):
        return self.net(x) * self.theta


def made() -> Configured:
    torch.manual_seed(0)
    return Configured()


CHANGES = {
    "a weight": lambda m: m.net[0].weight.data.mul_(1.0001),
    "a saved buffer": lambda m: m.saved.add_(1),
    "a buffer that is not saved": lambda m: m.unsaved.add_(1),
    "a number": lambda m: setattr(m, "theta", 1.25),
    "a number in a list": lambda m: m.sizes.__setitem__(1, (2, 4)),
    "an entry of a dictionary": lambda m: m.table.update(a=2),
    "an array": lambda m: m.array.__setitem__(0, 9),
    "a tensor that is no buffer": lambda m: m.mask.fill_(0.5),
    "an entry of a configuration": lambda m: setattr(m.config, "rope_theta", 5e5),
    "a function": lambda m: setattr(m, "activation", torch.tanh),
    "an epsilon": lambda m: setattr(m.net[1], "eps", 1e-6),
    "an activation": lambda m: m.net.__setitem__(2, nn.ReLU()),
    "a module in a list": lambda m: m.others[0].weight.data.fill_(1),
    "a new attribute": lambda m: setattr(m, "temperature", 2.0),
    "a number format": lambda m: m.net[3].double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_module_is_made_of_changes_the_fingerprint(change):
    model = made()
    watched, before = Watched(model), model_fingerprint(model)
    assert watched.fingerprint() == before
    CHANGES[change](model)
    assert model_fingerprint(model) != before
    assert watched.fingerprint() == model_fingerprint(model)


def test_a_copy_and_a_model_that_was_used_are_the_same_model():
    model = made()
    before = model_fingerprint(model)
    model(torch.ones(2, 3)).sum().backward()
    model.eval()
    model._cache = torch.randn(3)
    assert model_fingerprint(model) == before == model_fingerprint(copy.deepcopy(model))
    assert model_fingerprint(made()) == before


class Setting(dataclasses.make_dataclass("Setting", ["a", "b"])):
    """A configuration as a dataclass."""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Setting(1, 2), Setting(1, 3)),
        ({"x": {"y": [1]}}, {"x": {"y": [2]}}),
        ({1, 2}, {1, 3}),
        (torch.float32, torch.float64),
        (b"a", b"b"),
        (1, 1.0),
        (True, 1),
        (None, "None"),
    ],
)
def test_settings_of_every_kind_are_told_apart(one, other):
    found = []
    for value in (one, copy.deepcopy(one), other):
        model = nn.Linear(1, 1)
        nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
        model.setting = value
        found.append(model_fingerprint(model))
    assert found[0] == found[1] != found[2]


DENSE = torch.tensor([[0.0, 2, 0, 0], [0, 0, 0, 3]])
STORED = {  # how numbers may be kept in a tensor
    "coo": torch.Tensor.to_sparse,
    "csr": torch.Tensor.to_sparse_csr,
    "csc": torch.Tensor.to_sparse_csc,
    "bsr": lambda x: x.to_sparse_bsr((1, 2)),
    "bsc": lambda x: x.to_sparse_bsc((1, 2)),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.5, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize("buffer", [False, True])
@pytest.mark.parametrize("kind", STORED)
def test_tensors_that_are_not_dense_are_told_by_their_numbers(kind, buffer):
    found = []
    for x in (DENSE, DENSE.clone(), DENSE * 2, DENSE.flip(1), torch.zeros_like(DENSE)):
        model = nn.Linear(1, 1)
        nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
        model.register_buffer("held", None)
        model.held = STORED[kind](x) if buffer else None
        model.other = None if buffer else STORED[kind](x)
        watched = Watched(model)
        found.append(model_fingerprint(model))
        assert watched.fingerprint() == found[-1]
        if buffer:
            model.held = STORED[kind](x + 1)
        else:
            model.other = STORED[kind](x + 1)
        assert watched.fingerprint() == model_fingerprint(model) != found[-1]
    assert found[0] == found[1] and len(set(found)) == 4


def test_the_order_of_the_entries_of_a_sparse_tensor_does_not_count():
    found = []
    for order in ([0, 1], [1, 0]):
        model = nn.Linear(1, 1)
        nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
        places, values = torch.tensor([[0, 1], [1, 3]]), torch.tensor([2.0, 3.0])
        model.mask = torch.sparse_coo_tensor(
            places[:, order], values[order], (10**6, 10**6), check_invariants=True
        )
        found.append(model_fingerprint(model))
    assert found[0] == found[1]


def test_where_a_language_model_lies_and_who_wrote_it_does_not_count(tmp_path):
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "here")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "here")
    assert model_fingerprint(again) == model_fingerprint(model)
    again.config.rope_parameters["rope_theta"] = 500.0
    assert model_fingerprint(again) != model_fingerprint(model)


# Ways to change a weight of which the version counter knows nothing, or that it has not.
QUIET = {
    "data.add_": lambda p: p.data.add_(1),
    "a numpy view": lambda p: p.detach().numpy().__setitem__((0, 0), 7.0),
    "data =": lambda p: setattr(p, "data", p.data + 1),
    "data = of the same sum": lambda p: setattr(p, "data", p.data.flip(0).clone()),
    "copy_": lambda p: torch.no_grad()(p.copy_)(p + 1),
}


@pytest.mark.parametrize("change", QUIET)
@pytest.mark.parametrize("inference", [False, True])
def test_a_quiet_change_is_noticed(change, inference):
    with torch.inference_mode(inference):
        model = nn.Linear(3, 4)
    watched = Watched(model)
    assert watched.fingerprint() == model_fingerprint(model)
    with torch.inference_mode(inference):
        QUIET[change](model.weight)
    assert watched.fingerprint() == model_fingerprint(model)


def test_a_model_that_has_not_changed_is_hashed_once(monkeypatch):
    hashed = []
    own = fingerprint.update
    monkeypatch.setattr(fingerprint, "update", lambda d, x: (hashed.append(1), own(d, x)))
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    objective = Objective(lambda x: (model(x) - x).square().sum(1), model)
    for _ in range(10):
        fingerprint.watched_fingerprint(objective)
    assert len(hashed) == 4  # tensors
