"""What every objective keeps: one loss per sample, the model's flags as they were."""

import pytest
import torch
from torch import nn

from fimetric.objectives import Objective

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def squares(module: nn.Module) -> Objective:
    return Objective(lambda x: (module(x) - x).square().sum(1), module)


def test_any_function_of_a_batch_is_an_objective():
    model = nn.Linear(4, 4)
    objective = squares(model)
    expected = (model(X) - X).square().sum(1)
    assert torch.equal(objective(X), expected)
    assert torch.equal(objective.losses("", X), expected)
    assert list(objective.views()) == [""]
    assert objective.dimensions(X).tolist() == [4] * 6


def test_called_directly_it_is_the_mean_over_its_views():
    class Two(Objective):
        def views(self):
            return {"a": self.function, "b": lambda x: 3 * self.function(x)}

    model = nn.Linear(4, 4)
    objective = Two(lambda x: model(x).sum(1), model)
    torch.testing.assert_close(objective(X), 2 * model(X).sum(1))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_data_are_brought_to_the_number_format_of_the_model(kind):
    model = nn.Linear(4, 4).to(kind)
    assert squares(model)(X.double()).dtype == kind
    seen = {}

    def losses(batch):
        seen.update(batch)
        return model(batch["x"]).sum(1)

    Objective(losses, model)({"x": X, "class": torch.arange(6)})
    assert seen["x"].dtype == kind
    assert seen["class"].dtype == torch.int64


class Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, dropout=dropout)

    def forward(self, x):
        return self.attend(x, x, x)[0]


class Recurrent(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, num_layers=2, dropout=dropout)

    def forward(self, x):
        return self.lstm(x)[0]


UNRULY = {
    "1 (BatchNorm1d)": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
    "1 (Dropout)": lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)),
    "lstm (LSTM)": lambda: Recurrent(0.2),
    "attend (MultiheadAttention)": lambda: Attention(0.2),
    "the model (BatchNorm1d)": lambda: nn.BatchNorm1d(4),
}


@pytest.mark.parametrize("name", UNRULY)
def test_training_mode_is_refused_by_name_and_no_flag_is_touched(name):
    model = UNRULY[name]()
    objective = squares(model)
    flags = [m.training for m in model.modules()]
    with pytest.raises(RuntimeError, match=r"model\.eval\(\)") as error:
        objective(X)
    assert str(error.value).startswith(name)
    assert [m.training for m in model.modules()] == flags
    model.eval()
    objective(X)
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize(
    "model",
    [nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0)), Recurrent(0.0), Attention(0.0)],
    ids=["dropout", "lstm", "attention"],
)
def test_training_mode_without_an_effect_is_allowed(model):
    squares(model.train())(X)
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda x: x.sum(), r"\(\)"),
        (lambda x: x.sum(1, keepdim=True), r"\(6, 1\)"),
        (lambda x: x[:5].sum(1), r"\(5,\)"),
        (lambda x: x.sum(1).tolist(), "list"),
    ],
    ids=["mean", "column", "fewer", "list"],
)
def test_anything_but_one_loss_per_sample_is_refused(function, found):
    with pytest.raises(ValueError, match=rf"one loss per sample, \(6,\); got {found}\. Sum over"):
        Objective(function, nn.Linear(4, 4))(X)
