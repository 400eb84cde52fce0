"""Models in float16 and bfloat16 against the loop, at batch sizes up to many samples."""

import copy

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import fimetric as fm
from fimetric.gradients import GradientNorms, MixedSamplesError
from fimetric.gradients.halving import NOTHING, SEVERAL, samples_by_halves
from fimetric.gradients.reference import squared_gradient_norms
from objectives.saved_text_models import build

KINDS = [torch.float16, torch.bfloat16]


class Text(nn.Module):
    """Two blocks of GPT-2 with a tied head: its gradients fall below float16's normal range."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"vocab_size": 50, "n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4}
        self.model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))

    def forward(self, ids):
        logits = self.model(ids).logits.float()
        return nn.functional.cross_entropy(logits[:, :-1].mT, ids[:, 1:], reduction="none").sum(1)


def text(n):
    return Text(), torch.randint(0, 50, (n, 24))


def images(n):
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten())
    return layers, torch.randn(n, 1, 8, 8)


def rows(n):
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8)), torch.randn(n, 8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 8, 33])
@pytest.mark.parametrize("make", [text, images, rows])
def test_norms_are_those_of_the_loop(make, n, kind):
    torch.manual_seed(n)
    model, x = make(n)
    model = model.to(kind).train(False)
    batch = x.to(kind) if x.is_floating_point() else x

    def losses(batch):
        found = model(batch).float()
        return found if found.dim() == 1 else found.square().sum(1)

    norms = GradientNorms(model)
    for part in (batch, batch.flip(0)):  # the plan is kept
        expected = squared_gradient_norms(losses, part.split(1), list(model.parameters()))
        torch.testing.assert_close(norms(losses(part)), expected, rtol=0.03, atol=1e-5)


def in_batch_negatives(h):
    return nn.functional.cross_entropy((h @ h.T).float(), torch.arange(len(h)), reduction="none")


def batch_mean(h):
    return (h - h.mean(0)).float().square().sum(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mix", [in_batch_negatives, batch_mean, nn.BatchNorm1d(3)])
@pytest.mark.parametrize("n", [4, 7])
def test_mixing_is_refused(mix, n, kind):
    module = nn.Linear(4, 3).to(kind)
    both = nn.ModuleList([module, mix.to(kind)]) if isinstance(mix, nn.Module) else module
    losses = mix(module(torch.randn(n, 4).to(kind))).float()
    with pytest.raises(MixedSamplesError):
        GradientNorms(both)(losses if losses.dim() == 1 else losses.square().sum(1))


@pytest.mark.parametrize("n", [2, 3, 5, 8, 33])
def test_halves_tell_whose_an_entry_is(n):
    own = torch.diag(torch.randn(n))
    gradients = torch.cat([own, torch.zeros(n, 1), torch.ones(n, 1)], 1)
    gradients[:2, n] = torch.tensor([1.0, -1.0])  # they cancel

    def backward(chosen):
        return [(gradients * chosen[:, None]).sum(0), None]

    found, absent = samples_by_halves(backward, backward(torch.ones(n)), n)
    assert found.tolist() == [*range(n), SEVERAL, SEVERAL]
    assert absent is None
    gradients[1, 1], gradients[:2, n] = torch.inf, 0
    found, _ = samples_by_halves(lambda c: [gradients[c].sum(0), None], backward(torch.ones(n)), n)
    assert found.tolist() == [0, NOTHING, *range(2, n), NOTHING, SEVERAL]


def oracle(model, batch):
    """The norms in float64, of the same weights."""
    wide = copy.deepcopy(model).double()
    return squared_gradient_norms(wide, batch.split(1), list(wide.parameters()))


def in_bfloat16(model):
    return model.bfloat16()


def in_autocast(model):
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    return model


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("prepare", [in_bfloat16, in_autocast])
def test_bfloat16_gives_float32_norms_as_near_to_float64_as_its_losses_are(prepare, n):
    torch.manual_seed(0)
    model, ids = text(n)
    model = model.eval().bfloat16().float()  # weights that both formats hold
    expected = oracle(model, ids)
    model = prepare(model)
    by_loop = squared_gradient_norms(model, ids.split(1), list(model.parameters()))
    norms = GradientNorms(model)
    for _ in range(2):
        table = norms(model(ids))
        assert table.dtype == torch.float32
        error = (table - expected).abs() / expected
        assert error.max() < 0.03
        assert error.mean() <= 1.5 * ((by_loop - expected).abs() / expected).mean()


def test_losses_in_bfloat16_themselves():
    torch.manual_seed(0)
    model, x = rows(5)
    model, x = model.bfloat16(), x.bfloat16()
    wide = copy.deepcopy(model).double()
    parameters = list(wide.parameters())
    expected = squared_gradient_norms(
        lambda x: wide(x).square().sum(1), x.double().split(1), parameters
    )
    losses = model(x).square().sum(1)
    assert losses.dtype == torch.bfloat16
    table = GradientNorms(model)(losses)
    assert table.dtype == torch.float32
    torch.testing.assert_close(table.double(), expected, rtol=0.05, atol=0)


def test_a_detector_of_a_language_model_in_bfloat16_has_layers_to_tell_by():
    model = build("opt", "AutoModelForCausalLM", max_position_embeddings=64).to(torch.bfloat16)
    tokens = torch.randint(4, 64, (40, 40))
    detector = fm.Detector(fm.objectives.CausalLM(model)).fit(tokens)
    kept = dict(zip(detector.density.names_, detector.density.kept_, strict=True))
    zero = {name for name in kept if name.endswith("k_proj.bias")}  # no softmax sees it
    assert zero and not any(kept[name] for name in zero)
    assert sum(kept.values()) > 0.9 * (len(kept) - len(zero))
