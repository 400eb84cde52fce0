"""The coverage run itself: its list of models, and that it would notice a wrong engine."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "coverage"))

from cases import cases
from goals import goals
from language import LEFT_OUT, NAMES
from measure import EXACT, REFUSED, WRONG, measure
from paths import CALLED, FAST, LOOP, UNUSED
from table import as_csv, markdown

from fimetric.gradients import GradientNorms

BY_NAME = {case.name: case for case in cases()}


def test_enough_language_models_are_listed():
    assert len(set(NAMES)) >= 40
    assert not set(NAMES) & set(LEFT_OUT)
    assert set(NAMES) <= {case.name for case in BY_NAME.values() if case.family == "language model"}


def test_no_name_is_given_twice():
    rows = [(case.family, case.name) for case in cases()]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("gpt2", {FAST: 28}),
        ("Function", {FAST: 4, CALLED: 1}),
        ("checkpoint", {FAST: 10}),
        ("checkpoint, reentrant", {LOOP: 10}),
        ("unused parameters", {FAST: 6, UNUSED: 3}),
    ],
)
def test_counts_tensors_by_path(name, ways):
    row = measure(BY_NAME[name], timed=False)
    assert row.status == EXACT, row.message
    assert row.tensors == ways
    assert row.error < 1e-9
    assert sum(row.called.values()) == ways.get(CALLED, 0)


def test_a_refusal_is_a_row_that_says_why():
    row = measure(BY_NAME["torch.compile, compiled losses (aot_eager)"], timed=False)
    assert row.status == REFUSED
    assert "CompiledFunctionBackward" in row.message


def test_time_is_measured():
    assert measure(BY_NAME["Linear"]).ratio > 0


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_notices_a_table_that_is_wrong_once(monkeypatch, call):
    """In any one of: the first use of a plan, both reuses, the other batch size."""
    honest, calls = GradientNorms.__call__, []

    def wrong(norms, losses, retain_graph=False):
        table = honest(norms, losses, retain_graph)
        calls.append(table)
        return table * (1 + 1e-6 * (len(calls) == call))

    monkeypatch.setattr(GradientNorms, "__call__", wrong)
    row = measure(BY_NAME["Linear"], timed=False)
    assert row.status == WRONG
    assert 1e-7 < row.error < 1e-5
    assert not goals([row])[1].met


def test_notices_samples_in_the_wrong_order(monkeypatch):
    honest = GradientNorms.__call__
    monkeypatch.setattr(GradientNorms, "__call__", lambda *a, **k: honest(*a, **k).flip(0))
    assert measure(BY_NAME["Conv2d"], timed=False).status == WRONG


def test_notices_parameters_that_the_graph_hides(monkeypatch):
    """If the engine did not look for them, it would find zeros."""
    monkeypatch.setattr("fimetric.gradients.engine.hides_parameters", lambda *given: None)
    row = measure(BY_NAME["checkpoint, reentrant"], timed=False)
    assert row.status != EXACT


def test_a_failing_case_does_not_stop_the_run():
    def fails():
        raise OSError("no such model")

    row = measure(BY_NAME["Linear"]._replace(make=fails))
    assert row.message == "OSError: no such model"
    assert not goals([row])[0].met


def test_the_page_lists_misses_and_the_file_every_row():
    compiled = "torch.compile, compiled losses (aot_eager)"
    rows = [measure(BY_NAME[name], timed=False) for name in ("Linear", compiled)]
    page = markdown(rows, 1.0)
    assert f"**compiled: {compiled}**, refused" in page
    assert "| all exact | 1 of 2 (50.0%) | **no** |" in page
    assert len(as_csv(rows).splitlines()) == 3


def test_random_numbers_are_fixed():
    torch.manual_seed(1)
    first = measure(BY_NAME["Linear"], timed=False)
    torch.manual_seed(2)
    assert measure(BY_NAME["Linear"], timed=False).error == first.error
