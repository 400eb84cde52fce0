"""What a user meets before the steady state: first calls, other sizes, one sample, long streams."""

import os
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from torch import Tensor

import fimetric as fm
from benchmarks.speed.cases import CASES, SEED, Case, gpt2, tokens
from benchmarks.speed.tables import Table
from benchmarks.speed.timing import Spread, seconds, training_step
from fimetric.gradients import engine
from fimetric.gradients.cache import FOLDER

WORDS, LENGTHS, BATCHES = 256, (4, 128), (2, 32)
NOTE = (
    "Steps: the time over that of an ordinary forward and backward pass of the same batch, the "
    "median of the repeats and their quartiles; every repeat begins with a new model. A later "
    "process is a model like it that begins with what was kept of the first. A stream "
    "is the sum over its batches."
)


text = partial(tokens, vocabulary=WORDS)
TEXT = Case(
    "GPT-2, 3 x 96",
    partial(gpt2, layers=3, width=96, heads=4, vocabulary=WORDS, positions=LENGTHS[1]),
    partial(text, positions=64),
    fm.objectives.CausalLM,
    32,
    1.0,
)


class Session:
    """One model and what is asked of it, in steps."""

    def __init__(self, case: Case) -> None:
        self.module, self.x = case.build()
        self.losses = case.losses(self.module)
        self.norms = fm.GradientNorms(self.module)
        training_step(self.module, self.losses, self.x[:1])()

    def table(self, x: Tensor) -> Tensor:
        return self.norms(self.losses(x))

    def steps(self, x: Tensor, norms: fm.GradientNorms | None = None) -> float:
        """Return the time of the engine in steps, those taken before and after it."""
        norms = self.norms if norms is None else norms
        step = training_step(self.module, self.losses, x)
        step()
        before = seconds(step)
        engine = seconds(lambda: norms(self.losses(x)))
        return 2 * engine / (before + seconds(step))


def _calls(case: Case) -> dict[str, float]:
    with TemporaryDirectory() as folder, patch.dict(os.environ, {FOLDER: folder}):
        session = Session(case)
        x = session.x
        found = {f"first batch, N = {len(x)}": session.steps(x)}
        found["the same in a later process"] = Session(case).steps(x)
    found |= {
        "the same, another GradientNorms": session.steps(x, fm.GradientNorms(session.module)),
        f"a last batch, N = {3 * len(x) // 4}": session.steps(x[: 3 * len(x) // 4]),
    }
    session.steps(x[:1])
    found["one sample"] = statistics.median(session.steps(x[:1]) for _ in range(5))
    if case is TEXT:
        for length in (65, 66, 96):
            found[f"length {length} after 64"] = session.steps(text(len(x), positions=length))
    return found


def calls(repeats: int, cases: dict[str, Case] | None = None) -> Table:
    """Measure first calls and other sizes."""
    table = Table("First calls and other sizes", ("model", "batch", "steps"), NOTE)
    for case in (cases or {**CASES, TEXT.name: TEXT}).values():
        each = [_calls(case) for _ in range(repeats)]
        for what in each[0]:
            table.rows.append((case.name, what, Spread.of([found[what] for found in each])))
    return table


PARTS = {
    "reading the graph": (engine, "read_graph"),
    "making the plan": (engine, "make_plan"),
    "reading the batch, with bounds": (engine.Reader, "read"),
    "checking one sample": (engine, "check_sample"),
}


def split(case: Case) -> Table:
    """Measure where the first call of a model goes."""
    session, spent = Session(case), dict.fromkeys(PARTS, 0.0)
    losses = session.losses(session.x)
    with ExitStack() as stack:
        for part, (owner, name) in PARTS.items():
            timed = _timed(getattr(owner, name), part, spent)
            stack.enter_context(patch.object(owner, name, timed))
        whole = seconds(lambda: session.norms(losses))
    step = seconds(training_step(session.module, session.losses, session.x))
    title = f"Where the first call goes ({case.name}, N = {len(session.x)})"
    table = Table(title, ("part", "share, %", "steps"), "The forward pass is not part of the call.")
    spent["the rest"] = whole - sum(spent.values())
    for part, took in {**spent, "all": whole}.items():
        table.rows.append((part, 100 * took / whole, took / step))
    return table


def _timed(work: Callable[..., Any], part: str, spent: dict[str, float]) -> Callable[..., Any]:
    def outer(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*given, **named)
        finally:
            spent[part] += time.perf_counter() - start

    return outer


def streams(counts: tuple[int, ...] = (20, 200, 1000), last_timed: int = 200) -> Table:
    """Measure streams of texts of random number and length, and what stays in memory."""
    columns = ("batches", "engine, steps", "memory kept since the 100th, MB")
    table = Table("Streams of random sizes and lengths (GPT-2, 3 x 96)", columns, NOTE)
    session, draw = Session(TEXT), random.Random(SEED)
    spent, began, done = {"engine": 0.0, "step": 0.0}, 0.0, 0
    for count in counts:
        while done < count:
            x = text(draw.randint(*BATCHES), positions=draw.randint(*LENGTHS))
            spent["engine"] += seconds(partial(session.table, x))
            if done < last_timed:
                spent["step"] += seconds(training_step(session.module, session.losses, x))
            done += 1
            began = _memory() if done == min(100, counts[-1] // 2) else began
        timed = spent["engine"] / spent["step"] if count <= last_timed else None
        table.rows.append((count, timed, _memory() - began if began else None))
    return table


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
