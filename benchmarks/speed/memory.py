"""Peak memory of one batch, over what was there before it: a fresh process for every row."""

import ctypes
import gc
import multiprocessing
import resource
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks.speed.cases import CASES, quieten
from benchmarks.speed.peers import METHODS
from benchmarks.speed.timing import STEP, Timed, Work, in_chunks, training_step

REPEATS = 3
PROCESS = Path("/proc/self")


def measure(timed: Timed) -> dict[str, float]:
    """Return the peaks in MB of a step and of every method that was timed."""
    rows = {STEP: 0} | {name: e.chunk or 0 for name, e in timed.methods.items() if e.ratio}
    return {
        name: alone(peak, partial(one_batch, timed.case.name, name, chunk, timed.batch))
        for name, chunk in rows.items()
    }


def alone(function: Callable[..., float], *arguments: object) -> float:
    """Call a function in a process of its own, made from one that has only imported.

    A fork of this process would inherit its heap and its threads; the fork server has neither.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.speed.memory"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def one_batch(case_name: str, method: str, chunk: int, batch: int) -> tuple[nn.Module, Work]:
    """Return a model and the work of one batch on it."""
    case = CASES[case_name]
    module, x = case.build(batch)
    if method == STEP:
        return module, training_step(module, case.losses(module), x)
    table = METHODS[method](case, module).table
    return module, in_chunks(table, x, chunk or batch)


def peak(prepare: Callable[[], tuple[nn.Module, Work]]) -> float:
    """Return the median peak in MB of a few batches, after two that are not counted."""
    quieten()
    module, work = prepare()
    found = []
    for repeat in range(2 + REPEATS):
        module.zero_grad(set_to_none=True)
        gc.collect()
        found.append(extra(work))
        if repeat < 2:  # the first batch makes the plan, the second is checked
            found.clear()
    return statistics.median(found)


def extra(work: Callable[[], object], device: str = "cpu") -> float:
    """Return in MB by how much memory rose, at its highest, while ``work`` ran."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    _give_back()
    resettable = _reset()
    before = _status("VmRSS") if resettable else _highest()
    work()
    return ((_status("VmHWM") if resettable else _highest()) - before) / 1e6


def _give_back() -> None:
    """Return freed memory to the system, or it would hide what the next batch needs."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)


def _reset() -> bool:
    """Set the high-water mark to what is resident now; return whether the system allows it."""
    try:
        (PROCESS / "clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def _status(field: str) -> float:
    for line in (PROCESS / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return 1024.0 * int(line.split()[1])
    raise RuntimeError(f"{PROCESS}/status has no {field}")


def _highest() -> float:
    """Return the highest residence so far: without a reset, later rises alone are seen."""
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
