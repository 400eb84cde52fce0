"""What the steps of a norm cost on this machine, by which its form is chosen.

They are measured once, in half a second, and kept for later processes on such a processor with
such libraries. ``FIMETRIC_COSTS=fixed`` takes constants instead, so that bits depend on no clock.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache as once
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from fimetric.gradients import cache
from fimetric.gradients.contributions import Factors, Geometry, Patches, squared_norms
from fimetric.gradients.contributions.costs import FIXED, Costs, used
from fimetric.gradients.contributions.gram import norms_by_gram
from fimetric.gradients.contributions.patches import norms_by_groups, norms_unfolded

VERSION = 1  # raised when what is measured, or what follows from it, changes
CHOICE = "FIMETRIC_COSTS"
SECONDS = 0.4  # of measuring
ORDERS = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
KIND = ("cpu family", "model", "stepping")
N, T, SIDE = 16, 128, 128  # samples, positions and sides of a matrix: 10^7 multiplications
LEAST = 2.0**-20  # of a cost: differences of times can be negative
ENTRIES = 1 << 19  # of a memory pass: 2 MB, as the temporaries that norms are made of
CHANNELS, PICTURE = 64, (16, 16)  # of a convolution


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    processor: str
    costs: dict[str, float]


def costs_on(device: torch.device) -> Costs:
    """Return the costs that are in use here, or else those of this machine.

    Raises:
        ValueError: where ``FIMETRIC_COSTS`` is neither empty nor "fixed".
    """
    choice = os.environ.get(CHOICE, "")
    if choice not in ("", "fixed"):
        raise ValueError(f"{CHOICE} is {choice!r}; it can be 'fixed', or empty to measure costs")
    said = used()
    if said is not None:
        return said
    if choice == "fixed" or device.type != "cpu":
        return FIXED
    costs = _of_one_thread()  # a call takes as long, however many threads multiply meanwhile
    return replace(costs, calls=costs.calls * torch.get_num_threads())


@once
def _of_one_thread() -> Costs:
    form = cache.form("costs", VERSION, processor(), _Kept)
    kept = cache.recall(form)
    if kept is not None:
        return Costs(**kept.costs)
    found = measured()
    cache.keep(form, _Kept(processor(), asdict(found)))
    return found


def processor() -> str:
    """Return what decides speed and order of sums, but for threads: the processor, the libraries.

    Two processors of one name can differ, so it is told with its family and model.
    """
    told = dict(line.split("\t", 1) for line in _cpu_lines() if "\t" in line)
    told = {name: value.strip("\t: ") for name, value in told.items()}
    kind = [f"{name.removeprefix('cpu ')} {told[name]}" for name in KIND if name in told]
    made = ", ".join([told.get("vendor_id", "unknown"), *kind])
    name = told.get("model name") or platform.processor() or "processor"
    words = [f"{name} ({made})", platform.machine(), torch.backends.cpu.get_cpu_capability()]
    orders = [f"{name}={os.environ[name]}" for name in ORDERS if name in os.environ]
    return ", ".join([*words, *orders, f"torch {torch.__version__}"])


def _cpu_lines() -> list[str]:
    place = Path("/proc/cpuinfo")
    return place.read_text(encoding="utf-8").splitlines() if place.exists() else []


@torch.no_grad()
def measured() -> Costs:
    """Measure the costs on the CPU, on one thread.

    Numbers are ratios of the shortest of interleaved tries, in steps of a square root of two, so
    that another measurement finds the same as a rule.
    """
    with torch.autocast("cpu", enabled=False), one_thread():
        seconds = _shortest(_tries())
    one = seconds["product"] / (N * T * SIDE**2)
    memory_pass = _step(seconds["pass"] / ENTRIES / one)
    gram = (seconds["gram"] - seconds["gram calls"]) / (N * T * T) / one
    return Costs(
        memory_pass=memory_pass,
        calls=_step((seconds["gram calls"] - seconds["direct calls"]) / one),
        gram=_step(gram / (2 * SIDE + memory_pass)),
        grouped=_step(seconds["grouped"] / seconds["unfolded"]),
    )


def _tries() -> Mapping[str, Callable[[], Tensor]]:
    def ones(*shape: int) -> Tensor:
        return torch.ones(shape, dtype=torch.float32, device="cpu")

    matrix, tiny = Factors(*ones(2, N, T, SIDE)), Factors(*ones(2, 1, 2, 2))
    entries, x, g = ones(N, ENTRIES // N), *ones(2, N // 2, 1, CHANNELS, *PICTURE)
    shape, geometry = torch.Size((CHANNELS, CHANNELS, 3, 3)), Geometry((1, 1), (1, 1), (1, 1))
    convolution = Patches(x, g, shape, geometry)
    return {
        "product": matrix.dense,
        "pass": lambda: squared_norms(entries),
        "gram": lambda: norms_by_gram(matrix, lambda chosen: [chosen]),
        "gram calls": lambda: norms_by_gram(tiny, lambda chosen: [chosen]),
        "direct calls": lambda: squared_norms(tiny.dense()),
        "grouped": lambda: norms_by_groups(convolution),
        "unfolded": lambda: norms_unfolded(convolution),
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread for a while."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _shortest(tries: Mapping[str, Callable[[], Tensor]]) -> dict[str, float]:
    """Return the shortest time of each: whatever disturbs a try makes it longer.

    A thread's own time, where the clock is fine enough, leaves out what other processes take; on
    Windows it ticks every 16 ms, whatever it says of itself.
    """
    fine = os.name == "posix" and time.get_clock_info("thread_time").resolution < 1e-6
    clock = time.thread_time if fine else time.perf_counter
    found, end = dict.fromkeys(tries, math.inf), time.perf_counter() + SECONDS
    while time.perf_counter() < end or math.inf in found.values():
        for name, work in tries.items():
            start = clock()
            work()
            found[name] = min(found[name], clock() - start)
    return found


def _step(x: float) -> float:
    """Return the nearest power of the square root of two; noise may have left less than nothing."""
    return 2 ** (round(2 * math.log2(max(x, LEAST))) / 2)
