"""Clipped sums on a tiny model; above all, that a wrong sum gets no time."""

import time
from functools import partial

import pytest
import torch
from benchmarks.speed import clipping, memory, timing
from benchmarks.speed.cases import Case, gpt2, next_tokens, tokens
from benchmarks.speed.checking import NEEDS
from benchmarks.speed.clippers import CLIPPERS, GHOST, Clipper, ghost
from torch import nn

import fimetric as fm

pytestmark = pytest.mark.filterwarnings("ignore")  # of the peers, about themselves


def tiny_model():
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 3)).eval()


def sum_of_squares(module):
    return lambda x: module(x).square().sum(1)


def images(n):
    return torch.randn(n, 2, 4, 4)


def language_model(tied):
    return Case("GPT-2", partial(gpt2, 1, tied=tied), tokens, next_tokens, 2, 1.0)


@pytest.fixture(autouse=True)
def _fine_clock(monkeypatch):
    monkeypatch.setattr(clipping, "seconds_of_user", time.perf_counter)  # ticks are too coarse


TINY = Case("tiny", tiny_model, images, sum_of_squares, 4, 1.0)


def skip_if_missing(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{name} is not installed; make bench installs it")


@pytest.mark.parametrize("case", [TINY, language_model(tied=False)], ids=lambda case: case.name)
@pytest.mark.parametrize("name", CLIPPERS)
def test_every_clipper_gives_the_sum_of_the_loop(name, case):
    skip_if_missing(name)
    assert clipping.fault_of(name, CLIPPERS[name], case, clipping.bound(case)) == ""


def test_ghost_clipping_refuses_a_tied_head():
    """The reason for a case of its own; where it fails, the case can go."""
    skip_if_missing(name := "Opacus ghost clipping")
    found = clipping.fault_of(name, CLIPPERS[name], language_model(tied=True), 1.0)
    assert found.startswith("refuses: Parameter tying")


def test_one_of_two_samples_is_clipped():
    module, x = TINY.build(2)
    squares = fm.GradientNorms(module)(TINY.losses(module)(x)).sum(1)
    assert squares.min().sqrt() < clipping.bound(TINY) < squares.max().sqrt()


def unclipped(case, module, C):
    return ghost(case, module, float("inf"))


def test_a_wrong_sum_is_found_and_gets_no_time(monkeypatch):
    monkeypatch.setattr(clipping, "CLIPPERS", {GHOST: ghost, "unclipped": unclipped})
    found = clipping.timed(TINY, 2).methods
    assert found[GHOST].ratio.median > 0
    assert found["unclipped"].ratio is None
    assert found["unclipped"].fault.startswith("wrong by")


def test_a_clipper_that_fails_on_the_whole_batch_is_told(monkeypatch):
    def fails(case, module, C):
        sums = ghost(case, module, C).sums
        return Clipper(lambda x: sums(x) if len(x) == 2 else [][1])

    monkeypatch.setattr(clipping, "CLIPPERS", {GHOST: ghost, "fails": fails})
    assert clipping.timed(TINY, 1).methods["fails"].fault == "refuses: list index out of range"


def test_the_table_has_time_and_memory_of_what_is_right(monkeypatch):
    monkeypatch.setattr(clipping, "CLIPPED", {"tiny": TINY})
    monkeypatch.setattr(clipping, "CLIPPERS", {GHOST: ghost, "unclipped": unclipped})
    monkeypatch.setattr(memory, "alone", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(memory, "peak", lambda prepare: 3.0 if prepare() else 0.0)
    rows = clipping.measure(1, print, [TINY]).rows
    assert [row[1] for row in rows] == [GHOST, "unclipped"]
    assert isinstance(rows[0][2], timing.Spread) and rows[0][3] == 1.0
    assert rows[1][2].startswith("wrong by") and rows[1][3] is None
