"""Models that lie anywhere, on the command line: a function of one's own file, moved folders."""

import csv
import json
import logging
import sys
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import fimetric as fm
from fimetric.cli import app
from fimetric.cli.gathering import gathered
from fimetric.cli.inspect import heard

FLOW = """
import torch
import zuko
from fimetric.objectives import NegativeLogLikelihood

def objective():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = zuko.flows.MAF(4, transforms=2, hidden_features=(8,))
    return NegativeLogLikelihood(flow.eval())
"""


def fimetric(typed: str, status: int = 0) -> str:
    """Call the command line; return what it printed, with single spaces."""
    result = CliRunner().invoke(app, typed.split())
    assert result.exit_code == status, (result.output, result.exception)
    return " ".join((result.stderr if status else result.stdout).split())


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A working folder with a zuko flow in flow.py, and tables own.npy and other.npy."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    Path("flow.py").write_text(FLOW)
    np.save("own.npy", random.random((120, 4)).astype(np.float32))
    np.save("other.npy", (random.random((60, 4)) ** 4).astype(np.float32))
    return tmp_path


def scores(path: str) -> list[float]:
    with open(path, newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


def test_a_file_may_import_what_lies_beside_it_when_it_is_called(home):
    Path("beside.py").write_text("FEATURES = 4\n")
    text = FLOW.replace("def objective():", "def objective():\n    from beside import FEATURES")
    Path("lazy.py").write_text(text.replace("MAF(4", "MAF(FEATURES"))
    assert fm.objectives.from_pretrained("lazy.py:objective").module is not None
    assert str(home) not in sys.path
    del sys.modules["beside"]


def test_a_file_takes_the_name_of_no_imported_module(home):
    Path("json.py").write_text(FLOW)
    with pytest.raises(
        ValueError, match=r"json\.py is called like the module 'json', which is loa"
    ):
        fm.objectives.from_pretrained("json.py:objective")
    assert sys.modules["json"] is json


def test_files_of_one_name_replace_each_other_and_broken_ones_nothing(home):
    first = fm.objectives.from_pretrained("flow.py:objective")
    Path("b").mkdir()
    Path("b/flow.py").write_text(FLOW.replace("transforms=2", "transforms=1"))
    second = fm.objectives.from_pretrained("b/flow.py:objective")
    assert len(list(second.module.parameters())) < len(list(first.module.parameters()))
    now = sys.modules["flow"]
    Path("b/flow.py").write_text("raise RuntimeError('no')")
    with pytest.raises(ValueError, match="fails as it is run"):
        fm.objectives.from_pretrained("b/flow.py:objective")
    assert sys.modules["flow"] is now


def test_a_flow_of_zuko_is_fitted_and_scored_by_its_file(home):
    asked = "--parameters transform.transforms.0.* --parameters *.bias"
    said = fimetric(f"fit flow.py:objective --data own.npy --seed 2 {asked} --out D")
    assert "calibrated on 60 groups" in said
    said = fimetric("score D --data other.npy --out s.csv", status=1)
    assert "error: D was fitted with what a function returned, flow.py:objective" in said
    assert "pass --model" in said and not Path("s.csv").exists()
    fimetric("score D --model flow.py:objective --data other.npy --out s.csv")
    objective = fm.objectives.from_pretrained(
        "flow.py:objective", parameters=["transform.transforms.0.*", "*.bias"]
    )
    detector = fm.Detector(objective, seed=2).fit(np.load("own.npy"))
    np.testing.assert_allclose(scores("s.csv"), detector.score(np.load("other.npy")), rtol=1e-5)


def test_norms_of_a_flow_are_those_of_one_backward_pass_a_sample(home):
    fimetric("extract flow.py:objective --data own.npy --limit 6 --out F")
    table = fm.Features.load("F")
    objective = fm.objectives.from_pretrained("flow.py:objective")
    named = dict(objective.module.named_parameters())
    for row, x in enumerate(torch.from_numpy(np.load("own.npy")[:6])):
        grads = torch.autograd.grad(objective(x[None]).sum(), [named[n] for n in table.names])
        squared = [float(g.double().square().sum()) for g in grads]
        np.testing.assert_allclose(np.exp(table.values[row]), squared, rtol=1e-5)


def test_a_detector_moves_with_its_model_and_asks_for_one_that_is_gone(home):
    digits = fm.data.load("digits", limit=60)
    (home / "a").mkdir()
    fm.models.save(fm.models.build("vae", "tiny", digits.shape), home / "a" / "M")
    fimetric("fit a/M --data digits --limit 60 --draws 2 --out a/D")
    fimetric("score a/D --data letters --limit 9 --out s.csv")
    Path("a").rename("b")
    fimetric("score b/D --data letters --limit 9 --out t.csv")
    assert scores("t.csv") == scores("s.csv")
    Path("b/M").rename("N")
    said = fimetric("score b/D --data letters --limit 9 --out u.csv", status=1)
    assert f"the model of b/D is not at {home.resolve()}/b/M" in said and "pass --model" in said
    fimetric("score b/D --model N --data letters --limit 9 --out u.csv")
    assert scores("u.csv") == scores("s.csv")


def test_an_evaluation_of_a_foreign_model_leaves_its_samples_out(home, monkeypatch):
    monkeypatch.setattr("fimetric.judging.judge.REPEATS", 20)
    call = "evaluate flow.py:objective --id own.npy --ood other.npy --out ev --group-size 1"
    said = fimetric(f"{call} --density likelihood")
    assert "Left out: samples of the model" in said and "other" in said
    assert Path("ev/table.csv").exists()
    assert not Path("ev/samples.png").exists() and not Path("ev/model.md").exists()


def test_inspect_says_what_a_model_is(home):
    said = fimetric("inspect flow.py:objective --data own.npy --parameters *.bias")
    for words in (
        "Model MAF in NegativeLogLikelihood, opened as a function of a file that returns",
        "Source flow.py:objective",
        "Loss likelihood: NegativeLogLikelihood(MAF",
        "Columns 4: transform.transforms.0.hyper.0.bias",
        "Parameters 224, of which 32 are differentiated",
        "a sample, measured on",
        "to fit on the 120 samples, or to score them",
        "leave 60 to calibrate on, too few for alarms at alpha = 0.01",
    ):
        assert words in said, said
    assert "frozen" not in said  # it was asked for
    said = fimetric("inspect flow.py:objective")
    assert "pass --data to measure its cost" in said and "a sample, measured" not in said
    fm.models.save(fm.models.build("vae", "tiny", (1, 8, 8)), home / "M")
    said = fimetric("inspect M")
    assert f"Source{home.resolve()}/M" in said.replace(" ", "")  # a long path is folded
    assert "Samples of shape (1, 8, 8)" in said and "made-up samples" in said


def test_what_is_logged_meanwhile_is_collected_once():
    logger = logging.getLogger("fimetric")
    before = list(logger.handlers)
    with heard() as messages:
        for _ in range(2):
            logging.getLogger("fimetric.objectives").warning("the null %s", "condition")
    assert messages == ["the null condition"]
    assert logger.handlers == before


def test_help_says_that_a_file_is_run():
    assert "FILE.py:FUNCTION: the one way in which code" in fimetric("--help")
    for command in ("extract", "fit", "evaluate", "inspect", "score"):
        said = fimetric(f"{command} --help").replace("│ │", "")
        assert "that file is run" in " ".join(said.split()), command


@dataclass(frozen=True)
class Pair:
    """Two options."""

    first: Annotated[str, typer.Argument()]
    second: Annotated[int, typer.Option()] = 2


def test_gathered_options_are_taken_one_by_one():
    taken = []

    @gathered
    def command(pair: Pair, third: Annotated[str, typer.Option()] = "c") -> None:
        """Take a pair."""
        taken.append((pair, third))

    command(first="a")
    command(third="z", second=5, first="b")
    assert taken == [(Pair("a", 2), "c"), (Pair("b", 5), "z")]
    assert list(signature(command).parameters) == ["first", "second", "third"]
    assert command.__doc__ == "Take a pair."
    with pytest.raises(TypeError, match="first"):
        command(second=3)
    with pytest.raises(TypeError, match="fourth"):
        command(first="a", fourth=4)
