"""What is said of a model before it is used, against what extraction makes of it."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fimetric import extract, models
from fimetric.data import load
from fimetric.data.samples import Samples
from fimetric.detection.inspection import inspect, made_up
from fimetric.detection.remarks import of_data, of_model, stopping
from fimetric.objectives import CausalLM, Denoising, Objective, from_pretrained

DIGITS = load("digits", limit=12)


class Tokens(nn.Module):
    """A causal model of 11 tokens and 8 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(vocab_size=11, n_positions=8)
        self.table, self.head = nn.Embedding(11, 4), nn.Linear(4, 11)

    def forward(self, input_ids):
        return self.head(self.table(input_ids))


class Denoiser(nn.Module):
    """A convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, t):
        return self.layer(x)


def schedule():
    return SimpleNamespace(alphas_cumprod=torch.linspace(1, 0.1, 9))


def tokenizer(ids, bos):
    def call(text):
        return {"input_ids": ids}

    call.bos_token_id = bos
    return call


def net() -> Objective:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 3)).eval()
    return Objective(lambda x: (model(x) - x).square().sum(1), model, name="net")


def rows(n: int) -> Samples:
    return Samples(torch.rand(n, 3, generator=torch.Generator().manual_seed(0)))


def test_it_is_what_extraction_makes_of_the_model():
    objective = Denoising(Denoiser(), schedule(), (0, 5), draws=2)
    found = inspect(objective, DIGITS)
    table = extract(objective, DIGITS, progress=False)
    assert found.columns == tuple(table.names) and len(found.columns) == 4
    assert found.views == tuple(table.views) and len(found.views) == 4
    assert found.parameters == found.differentiated == 10
    assert (found.kind, found.loss) == ("denoising loss", objective.describe())
    assert found.model == "Denoiser" and not found.made_up
    assert found.cost.samples in (4, 12) and found.cost.seconds > 0
    assert found.cost.of(10) == found.cost.ready + 10 * found.cost.seconds


def test_samples_are_made_up_where_it_is_known_what_they_look_like(tmp_path):
    models.save(models.build("vae", "tiny", DIGITS.shape), tmp_path / "M")
    objective = from_pretrained(tmp_path / "M")
    found = inspect(objective, None, objective.opened.shape)
    assert found.made_up and found.cost.samples >= 4
    texts = made_up(CausalLM(Tokens().eval()))
    assert texts.shape == (64, 8) and texts.dtype == torch.int64 and texts.max() == 10
    assert inspect(CausalLM(Tokens().eval())).cost is not None
    assert inspect(net()).cost is None
    assert "pass --data" in inspect(net()).remarks[-1]
    assert "made-up samples will not do: Sequential fails" in inspect(net(), None, (4,)).remarks[-1]
    told = net()
    told.condition = "label"
    assert made_up(told, (3,)) is None


def frozen() -> Objective:
    objective = net()
    objective.module[0].requires_grad_(False)
    return objective


def training() -> Objective:
    objective = net()
    objective.module.train()
    return objective


def half() -> Objective:
    objective = net()
    objective.module.bfloat16()
    return objective


def text(ids, bos) -> Objective:
    objective = CausalLM(Tokens().eval())
    objective._tokenizer = SimpleNamespace(theirs=tokenizer(ids, bos), digest="")
    return objective


def denoising(*timesteps) -> Objective:
    return Denoising(Denoiser(), schedule(), timesteps)


REMARKS = {
    "frozen": (frozen, "2 of its 4 tensors are frozen"),
    "training": (training, r"it cannot be used so: 1 \(Dropout\) is in training mode"),
    "half": (half, "weights in bfloat16 round coarsely"),
    "no likelihood": (net, "the loss is a loss, no likelihood"),
    "one timestep": (lambda: denoising(0), "one timestep tells less than several"),
    "no BOS": (lambda: text([3], None), "no beginning-of-text token in front"),
    "BOS that is not put": (lambda: text([3], 1), "no beginning-of-text token in front"),
}


@pytest.mark.parametrize("name", REMARKS)
def test_what_is_odd_is_remarked(name):
    make, message = REMARKS[name]
    assert any(re.search(message, said) for said in inspect(make()).remarks)


def test_what_is_not_odd_is_not_remarked():
    assert [*of_model(text([1, 3], 1)), *stopping(text([1, 3], 1).module)] == []
    assert len(list(of_model(denoising(0, 5)))) == 1  # that it is no likelihood


@pytest.mark.parametrize(
    ("samples", "few"), [(36, "0.05 and 0.01"), (38, "alpha = 0.01"), (196, "alpha = 0.01")]
)
def test_too_few_samples_for_a_level_are_told(samples, few):
    assert any(said.endswith(few) for said in of_data(samples))
    assert not any("too few" in said for said in of_data(198))


def test_what_the_model_cannot_take_is_an_error():
    with pytest.raises(RuntimeError, match="fails on samples"):
        inspect(net(), Samples(torch.rand(8, 4)))
