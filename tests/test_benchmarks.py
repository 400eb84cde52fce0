"""The measuring functions on a tiny model; above all, that a wrong table gets no time."""

import csv
import json
import re
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from benchmarks.speed import (
    first_calls,
    fitting,
    forms,
    full_size,
    jobs,
    memory,
    presets,
    scaling,
    timing,
)
from benchmarks.speed.cases import CASES, Case, gpt2, tokens
from benchmarks.speed.checking import NEEDS, difference, fault
from benchmarks.speed.peers import ENGINE, METHODS, UNPREPARED, Method, engine
from benchmarks.speed.prepare import for_backpack, for_opacus
from benchmarks.speed.tables import Table, write_csv
from torch import nn

import fimetric as fm
from fimetric.gradients import engine as reading

pytestmark = pytest.mark.filterwarnings("ignore")  # of the peers, about themselves


def tiny_model():
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 3)).eval()


def sum_of_squares(module):
    return lambda x: module(x).square().sum(1)


TINY = Case("tiny", tiny_model, lambda n: torch.randn(n, 2, 4, 4), sum_of_squares, 4, 1.0)


TINY_JOB = fm.objectives.standard_objective, 24, 8


def skip_if_missing(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{name} is not installed; make bench installs it")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_the_norms_of_the_loop(name):
    skip_if_missing(name)
    assert fault(name, METHODS[name], TINY) == ""


def test_a_wrong_table_is_found_and_the_tensor_named():
    def wrong(case, module):
        table = engine(case, module).table
        return Method(lambda x: table(x) * torch.tensor([1.0, 1.0, 1.01, 1.0], dtype=x.dtype))

    assert fault("wrong", wrong, TINY) == "wrong by 0.01 of the norm² on 2.weight"


def test_a_zero_in_place_of_a_gradient_is_found():
    expected = torch.ones(2, 3, dtype=torch.float64)
    found = expected * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    assert difference(found, expected, ["a", "b", "c"]) == "wrong by 1 of the norm² on b"
    assert difference(expected * float("nan"), expected, ["a", "b", "c"]).startswith("wrong")
    assert difference(expected[:1], expected, ["a", "b", "c"]).startswith("wrong: a table (1, 3)")


def test_a_refusal_is_told_in_short():
    def refusing(case, module):
        raise NotImplementedError("this layer\nis not supported" + " at all" * 50)

    found = fault("refusing", refusing, TINY)
    assert found.startswith("refuses: this layer is not supported at all")
    assert len(found) < 130


def test_what_is_wrong_gets_no_time(monkeypatch):
    def wrong(case, module):
        return Method(lambda x: 2 * engine(case, module).table(x))

    monkeypatch.setattr(timing, "METHODS", {ENGINE: engine, "wrong": wrong})
    found = timing.measure(TINY, repeats=2)
    assert found.methods[ENGINE].ratio.median > 0
    assert found.methods[ENGINE].first > 0
    assert found.methods["wrong"].ratio is None
    assert found.methods["wrong"].fault.startswith("wrong by 1 of the norm²")


def test_hooks_of_a_library_do_not_cost_the_engine(monkeypatch):
    """The engine searches a batch for hooks where one was registered after the batch before."""
    searched = []
    monkeypatch.setattr(reading, "refuse_changing", lambda *_: searched.append(1))
    module, x = TINY.build()
    table = engine(TINY, module).table

    def hooking():
        torch.zeros(1, requires_grad=True).register_hook(print).remove()

    works = {timing.STEP: lambda: sum(range(10**5)), ENGINE: lambda: table(x)}
    table(x)
    _, found = timing.in_turns({**works, "Opacus hooks": hooking}, repeats=3)
    assert set(found) == {ENGINE, "Opacus hooks"}
    before = len(searched)
    hooking()
    timing.in_turns({**works, "Opacus hooks": hooking}, repeats=3)
    assert len(searched) == before + 1  # in the round that does not count


def test_opacus_is_wrong_in_silence_on_other_strides_unless_prepared():
    """The reason for one of the changes; where it fails, the change can go."""
    skip_if_missing("Opacus hooks")

    def losses(module):
        return lambda x: module(x.contiguous(memory_format=torch.channels_last)).square().sum(1)

    case = Case("strided", tiny_model, TINY.sample, losses, 4, 1.0)
    assert fault("Opacus hooks", UNPREPARED["Opacus hooks"], case).startswith("wrong by")
    assert fault("Opacus hooks", METHODS["Opacus hooks"], case) == ""


@pytest.mark.parametrize("prepare", [for_opacus, for_backpack])
@pytest.mark.parametrize(
    "case",
    [CASES["VAE"], Case("GPT-2", lambda: gpt2(1), tokens, fm.objectives.CausalLM, 2, 1.0)],
    ids=lambda case: case.name,
)
def test_preparation_keeps_the_function_and_the_parameters(case, prepare):
    module, x = case.build(2)
    expected = case.losses(module)(x)
    sizes = {name: p.numel() for name, p in module.named_parameters()}
    prepared = prepare(module)
    torch.testing.assert_close(case.losses(module)(x), expected)
    found = zip(prepared.names, prepared.parameters, strict=True)
    assert {name: p.numel() for name, p in found} == sizes


def test_memory_sees_what_is_allocated_for_a_moment():
    extra = memory.extra(lambda: torch.ones(16_000_000))
    assert 60 < extra < 80  # MB, of 64


def test_the_exponent_of_a_power_is_found():
    spread = timing.Spread(1.0, 1.0, 1.0)
    points = [
        scaling.Point(n, spread, timing.Spread.of([0.1 * n**1.5]), spread) for n in scaling.BATCHES
    ]
    assert scaling.exponent(points) == pytest.approx(1.5)


def test_times_over_batches_are_measured():
    points = scaling.over_batches(TINY, (1, 2), 1)
    assert [p.size for p in points] == [1, 2]
    assert all(p.ratio.median > 0 for p in points)


def test_both_jobs_give_the_same_scores_and_know_where_time_went(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "MODELS", {"VAE": ("vae", "tiny")})
    jobs.prepare("VAE", tmp_path, 144)
    for job in jobs.JOBS.values():
        clock = jobs.Clock(144)
        job(tmp_path, 144, clock)
        found = json.loads(clock.report())
        assert found["once"]["reading"] > 0
        assert all(found["rest"][part] > 0 for part in ("forward", "norms", "density", "writing"))
    jobs.agree(tmp_path)
    table = (tmp_path / "loop.csv").read_text()
    (tmp_path / "loop.csv").write_text(re.sub("(?<=images/143,)[^,]*", "1e9", table))
    with pytest.raises(RuntimeError, match="the jobs disagree"):
        jobs.agree(tmp_path)


def test_tables_keep_all_digits_in_the_csv_file(tmp_path):
    table = Table("T", ["model", "time"], "note")
    table.rows.append(["a|b", timing.Spread(1.23456, 1.0, 2.0)])
    assert "| a\\|b | 1.23 (1.00–2.00) |" in table.markdown()
    write_csv([table], tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[2] == ["T", "1", "time", "1.23456", "1.0", "2.0"]


def test_forms_of_a_layer_are_compared(monkeypatch):
    monkeypatch.setattr(forms, "CONVOLUTIONS", [(2, 16, 8, 4, 3, 1)])
    monkeypatch.setattr(forms, "MATRICES", [(2, 3, 4, 5)])
    table = forms.measure(1)
    assert [len(row) for row in table.rows] == [7, 7]
    assert all(row[6] > 0 for row in table.rows)
    for layer in (forms.convolution(2, 16, 8, 4, 3, 1), forms.matrix(2, 3, 4, 5)):
        norms = [form() for form in layer.forms.values()]
        for other in norms[1:]:
            torch.testing.assert_close(other, norms[0], rtol=1e-4, atol=0)


def test_first_calls_and_streams_are_measured():
    table = first_calls.calls(1, {TINY.name: TINY})
    assert [row[1] for row in table.rows] == [
        "first batch, N = 4",
        "the same in a later process",
        "the same, another GradientNorms",
        "a last batch, N = 3",
        "one sample",
    ]
    assert all(row[2].median > 0 for row in table.rows)
    shares = [row[1] for row in first_calls.split(TINY).rows]
    assert sum(shares[:-1]) == pytest.approx(100) and min(shares) > 0
    rows = first_calls.streams((2, 4), 2).rows
    assert rows[0][1] > 0 and rows[1][1] is None


def test_the_whole_job_is_measured_by_all_ways():
    job = fitting.Job("tiny", lambda: fm.models.build("vae", "tiny", (3, 32, 32)).eval(), *TINY_JOB)
    ((name, *times),) = fitting.measure((job,)).rows
    assert name == "tiny" and all(time > 0 for time in times)


def test_all_presets_are_measured_on_photographs(monkeypatch):
    monkeypatch.setattr(presets, "seconds_of_user", time.perf_counter)  # ticks are too coarse
    monkeypatch.setattr(presets, "BATCH", 4)
    (case, *_) = presets.SUBJECTS
    tiny = replace(case, model=lambda: fm.models.build("vae", "tiny", (3, 32, 32)).eval(), batch=4)
    rows = presets.measure(1, print, (tiny,)).rows
    assert [name for _, name, _ in rows] == [presets.FORMER, "default", "cheap", "best"]
    assert all(ratio.median > 0 for *_, ratio in rows)
    pictures = case.sample(9)
    assert pictures.shape == (9, 3, 32, 32)
    assert len(pictures.flatten(1).unique(dim=0)) == 9


def test_a_language_model_of_full_size_is_measured(monkeypatch):
    with torch.device("meta"):
        assert sum(p.numel() for p in full_size.SMALL.model().parameters()) == 124_439_808
    monkeypatch.setattr(memory, "alone", lambda function, *arguments: function(*arguments))
    words = partial(tokens, vocabulary=61, positions=64)
    model = partial(gpt2, 2, 16, 2, 61, 64)
    case = Case("tiny", model, words, fm.objectives.CausalLM, 16, 1.0)
    rows = full_size.measure(1, case).rows
    assert [row[0] for row in rows] == ["all", "the last block"]
    assert rows[0][1] > rows[1][1] > 0
    assert all(row[3].median > 0 and row[5] > 0 for row in rows)
