"""Losses of made-up rows tell one loss from another where no hash can."""

import logging
import zlib

import pytest
import torch
from torch import nn

from fimetric.data.codes import signature
from fimetric.extraction.probing import difference, make_probe, rows_of
from fimetric.features.probe import Probe, agree
from fimetric.objectives import Objective

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def squares(factor: float = 1.0, epsilon: float = 1e-5) -> Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, eps=epsilon))
    return Objective(lambda x: factor * (model(x) - x).square().sum(1), model)


def test_the_same_loss_agrees_and_another_does_not():
    probe = make_probe(squares(), X)
    assert difference(probe, squares()) == ""
    assert "its loss of made-up row 0 is" in difference(probe, squares(1.001))


def test_an_epsilon_of_another_power_of_ten_is_seen():
    probe = make_probe(squares(), 0.01 * X)
    assert probe.tolerance == 1e-5
    assert difference(probe, squares(epsilon=1e-6)) != ""


def test_rows_are_made_up_and_the_same_in_every_process():
    probe = make_probe(squares(), X)
    rows = rows_of(probe.entries)
    assert rows.shape == (4, 4)
    assert torch.equal(rows, rows_of(make_probe(squares(), X.flip(0)[:5]).entries))
    assert not torch.isin(rows, X).any()


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [
        (torch.rand(5, 1, 8, 8), 0, 1),
        (2 * torch.rand(5, 1, 8, 8) - 1, -1, 1),
        (1000 * torch.randn(50, 3), -2, 2),
        (torch.randint(0, 30, (5, 7)), 0, 30),
        (torch.ones(5, 7, dtype=torch.bool), True, True),
    ],
)
def test_rows_are_of_the_shape_kind_and_range_of_the_data(x, low, high):
    rows = rows_of(make_probe(Objective(lambda x: x.double().flatten(1).sum(1), FIRST), x).entries)
    assert rows.shape[1:] == x.shape[1:]
    assert rows.dtype == x.dtype
    assert rows.min() >= low
    assert rows.max() <= high


FIRST = nn.Linear(1, 1)


def test_every_entry_of_a_batch_is_made_up():
    model = nn.Embedding(6, 4)

    def losses(batch):
        kept = batch["attention_mask"].float()
        return ((model(batch["kind"]) - batch["x"]).square() * kept).sum(1)

    batch = {
        "x": X,
        "kind": torch.tensor([0, 1, 2, 3, 4, 5, 0, 1]),
        "attention_mask": torch.ones(8, 4, dtype=torch.long),
    }
    probe = make_probe(Objective(losses, model), batch)
    rows = rows_of(probe.entries)
    assert rows.keys() == batch.keys()
    assert (rows["attention_mask"] == 1).all()
    assert rows["kind"].max() <= 5
    assert difference(probe, Objective(losses, model)) == ""


def test_a_loss_that_cannot_be_computed_of_made_up_rows_wants_a_name():
    model = nn.Linear(4, 4)
    objective = Objective(lambda x: model(x).sum(1) * float("nan"), model)
    with pytest.raises(ValueError, match=r"not finite.* objective.name = 'my loss, version 1'"):
        make_probe(objective, X)
    objective.name = "mine"
    assert make_probe(objective, X) is None
    assert difference(None, objective) == ""


def test_a_loss_that_rounding_moves_widens_the_tolerance_and_warns(caplog):
    model = nn.Linear(4, 4)
    # a last place of x turns the sine by a tenth
    objective = Objective(lambda x: torch.sin(1e6 * x).sum(1) + 0 * model(x).sum(1), model)
    with caplog.at_level(logging.WARNING, logger="fimetric"):
        probe = make_probe(objective, X)
    assert probe.tolerance > 1e-2
    assert "rounding moves this loss" in caplog.text


@pytest.mark.parametrize(("factor", "blind"), [(1e-8, True), (1e-2, False)])
def test_losses_below_the_tolerance_are_warned_of(factor, blind, caplog):
    objective = squares(factor)
    probe = make_probe(objective, X)
    assert ("any loss as small passes" in caplog.text) == blind
    assert (difference(probe, squares(3 * factor)) == "") == blind  # it is as is said


def test_probes_of_the_same_rows_are_compared_without_an_objective():
    one, other = make_probe(squares(), X), make_probe(squares(2.0), X)
    assert agree(one, one)
    assert not agree(one, other)
    assert agree(one, None)
    assert not agree(one, make_probe(squares(2.0), 100 * X))  # whatever came first
    assert agree(one, make_probe(squares(2.0), X.abs()))  # other rows say nothing
    assert not agree(Probe((), ((1.0,),), 1e-5), Probe((), ((1.0, 1.0),), 1e-5))


def test_code_lengths_of_another_library_are_told(monkeypatch):
    pictures = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(64, 1)
    objective = Objective(lambda x: model(x.flatten(1)).square().sum(1), model)
    bare = make_probe(objective, pictures)
    probe = make_probe(objective, pictures, ("nll", "code/png", "code/zlib"))
    assert probe.codes == {name: signature()[name] for name in ("png", "zlib")}
    assert difference(probe, objective) == difference(bare, objective) == ""
    monkeypatch.setattr("fimetric.data.codes.png_length", lambda image: 7)
    found = f"code/png took {probe.codes['png']} bytes and now takes 7"
    assert found in difference(probe, objective)
    assert difference(bare, objective) == ""  # reads no codes
    other = make_probe(objective, pictures, ("code/png", "code/zlib"))
    assert not agree(probe, other)
    assert agree(bare, other)  # older ones know of none
    monkeypatch.setattr("fimetric.extraction.probing.signature", dict)
    assert "code/png took" in difference(probe, objective)
    assert "and now is not here" in difference(probe, objective)


def test_levels_of_compression_differ_on_the_fixed_picture(monkeypatch):
    best = signature()["zlib"]
    compress = zlib.compress
    monkeypatch.setattr("fimetric.data.codes.zlib.compress", lambda x, level: compress(x, 1))
    assert signature()["zlib"] != best
