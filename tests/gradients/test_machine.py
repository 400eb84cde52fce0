"""The costs of this machine: measured once, kept, and never needed."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from fimetric.gradients import GradientNorms, machine
from fimetric.gradients.contributions import factors
from fimetric.gradients.contributions.costs import FIXED, Costs, using
from fimetric.gradients.machine import costs_on

CPU = torch.device("cpu")
FOUND = Costs(memory_pass=8.0, calls=-1e9, gram=1.0, grouped=2.0)


@pytest.fixture
def measurements(monkeypatch):
    """Count the measurements, which find ``FOUND``."""
    done = []
    monkeypatch.delenv("FIMETRIC_COSTS")
    monkeypatch.setattr(machine, "measured", lambda: done.append(1) or FOUND)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    machine._of_one_thread.cache_clear()
    yield done
    machine._of_one_thread.cache_clear()


def costs_of_a_new_process():
    machine._of_one_thread.cache_clear()
    return costs_on(CPU)


def test_costs_are_measured_once_and_kept(folder, measurements):
    assert [costs_on(CPU), costs_on(CPU), costs_of_a_new_process()] == [FOUND] * 3
    assert len(measurements) == 1
    (path,) = folder.iterdir()
    content = json.loads(path.read_text())["content"]
    assert content == {"processor": machine.processor(), "costs": asdict(FOUND)}


def test_they_are_those_of_the_processor(folder, measurements, monkeypatch):
    costs_on(CPU)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert costs_of_a_new_process() == FOUND
    assert len(measurements) == len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "edited", "of another version"])
def test_a_damaged_file_is_measured_again(folder, measurements, damage):
    costs_on(CPU)
    (path,) = folder.iterdir()
    text = path.read_text()
    if damage == "cut":
        path.write_text(text[: len(text) // 2])
    elif damage == "edited":
        path.write_text(text.replace('"grouped": 2.0', '"grouped": 3.0'))
    else:
        path.write_text(text.replace('"version": 1', '"version": 0'))
    assert path.read_text() != text
    assert costs_of_a_new_process() == FOUND
    assert len(measurements) == 2 and path.read_text() == text


@pytest.mark.parametrize("place", ["a file", ""])
def test_without_a_folder_they_are_measured_once_a_process(
    monkeypatch, folder, measurements, place
):
    folder.write_text("a file")
    monkeypatch.setenv("FIMETRIC_CACHE", str(folder) if place else "")
    assert [costs_on(CPU), costs_on(CPU), costs_of_a_new_process()] == [FOUND] * 3
    assert len(measurements) == 2


def test_a_call_costs_more_where_more_threads_multiply(folder, measurements, monkeypatch):
    costs_on(CPU)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert costs_on(CPU) == replace(FOUND, calls=16 * FOUND.calls)
    assert len(measurements) == 1


def test_constants_are_taken_where_that_is_asked_for(folder, measurements, monkeypatch):
    monkeypatch.setenv("FIMETRIC_COSTS", "fixed")
    assert costs_on(CPU) == FIXED
    assert not measurements and not folder.exists()


def test_another_word_is_refused(monkeypatch):
    monkeypatch.setenv("FIMETRIC_COSTS", "best")
    with pytest.raises(ValueError, match="'best'; it can be 'fixed'"):
        costs_on(CPU)


def test_other_devices_have_constants(folder, measurements):
    assert costs_on(torch.device("meta")) == FIXED
    assert not measurements


def test_costs_in_use_come_first(folder, measurements):
    with using(Costs(gram=3.0)):
        assert costs_on(CPU) == costs_on(torch.device("meta")) == Costs(gram=3.0)
    assert not measurements


def test_norms_are_chosen_by_them(folder, measurements, monkeypatch):
    taken, form = [], factors.norms_by_gram
    monkeypatch.setattr(factors, "norms_by_gram", lambda *a: taken.append(1) or form(*a))
    module, x = torch.nn.Linear(40, 30), torch.randn(3, 5, 40)
    GradientNorms(module)(module(x).square().sum((1, 2)))
    assert taken and measurements


def test_ratios_of_times_become_costs(monkeypatch):
    one = 1e-10  # seconds a multiplication
    seconds = {
        "product": one * machine.N * machine.T * machine.SIDE**2,
        "pass": one * machine.ENTRIES * 17,  # nearest step: 16
        "gram": one * (machine.N * machine.T**2 * (2 * machine.SIDE + 16) * 1.3 + 6e5),
        "gram calls": one * 6e5,
        "direct calls": one * 1e5,
        "grouped": 2.9,
        "unfolded": 1.0,
    }
    monkeypatch.setattr(machine, "_shortest", lambda tries: seconds)
    found = machine.measured()
    assert asdict(found) == pytest.approx(
        {"memory_pass": 16, "calls": 2**19, "gram": 2**0.5, "grouped": 2 * 2**0.5}
    )
    seconds |= {"gram calls": 0.5e5 * one, "gram": 0.5e5 * one}  # noise is larger than what is told
    assert machine.measured().calls == machine.measured().gram == 2**-20


def test_measuring_finds_numbers_and_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(machine, "SECONDS", 0.0)  # each is tried once
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.autocast("cpu"):
        found = machine.measured()
    assert all(value > 0 for value in asdict(found).values())
    assert torch.equal(torch.get_rng_state(), random) and torch.get_num_threads() == threads


def test_the_shortest_of_some_tries_is_taken(monkeypatch):
    clock = iter([0, 3, 10, 12, 20, 21, 30, 35])
    ends = iter([0, 0, 0, 9])
    monkeypatch.setattr(machine.time, "thread_time", lambda: next(clock))
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(ends))
    work = {"a": lambda: None, "b": lambda: None}
    assert machine._shortest(work) == {"a": 1, "b": 2}
