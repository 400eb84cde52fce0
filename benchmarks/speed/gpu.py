"""Exactness, time and memory of the engine on a GPU, within four minutes.

    python -m benchmarks.speed.gpu PAGE              on a machine with a CUDA GPU
    python -m benchmarks.speed.gpu PAGE --reduced    small models on any device, in a minute

Each row is printed as soon as it is measured, and PAGE (Markdown) and the CSV file beside it are
written anew with it. When the time is over no other row is begun; what is missing is listed.
"""

import argparse
import gc
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.speed import exactness, pairs
from benchmarks.speed.cases import MEMORY_GOAL, Case, quieten
from benchmarks.speed.checking import refusal
from benchmarks.speed.exactness import ZOO
from benchmarks.speed.large import GOAL, LARGE, in_bfloat16
from benchmarks.speed.machine import machine
from benchmarks.speed.peers import ENGINE, LOOP
from benchmarks.speed.tables import Table, Value, shown, write_csv
from fimetric.gradients.cache import FOLDER

SECONDS = 200.0  # after which no row is begun: the last one may take a while, and so do imports
SPEND = 3.0  # seconds for the pairs of a row
SHARE = 0.35  # of that time, after which no model more is checked for exactness
BATCH, FEW = 4, 6  # of reduced models: samples, and how many are checked for exactness
PEERS = (LOOP, "vmap(grad)", "Opacus hooks")

EXACT = "Exactness"
SPEED = "Time and memory"
CALLS = "Single calls"
NOTES = {
    EXACT: "The largest relative error of a squared norm beyond rounding noise, against one model "
    "pass and one backward pass per sample, with TF32 off; over a new plan, its reuse, and samples "
    "in another order.",
    SPEED: "Time and peak memory of (forward + table of norms) over those of one training step "
    "(forward + `losses.sum().backward()`), medians of pairs taken in turns, quartiles in "
    f"brackets; the loop is timed on {pairs.LOOPED} samples and scaled up. Precisions are as "
    "PyTorch has them by default: TF32 in convolutions, not in matrix products. bfloat16 is that "
    "of `torch.autocast`.",
    CALLS: "Times over those of a step at the same number of samples: the first call, which learns "
    "the model and checks it; the first one at half the batch; and one sample. Operations are "
    "those of the engine's backpropagation over an ordinary one's, views left out; waits are how "
    "often a call waits for the device.",
}
COLUMNS = {
    EXACT: ("model", "format", "error", "is"),
    SPEED: (
        *("model", "million parameters", "batch", "precision", "method", "one step, ms"),
        *("time / step", "MB of a step", "memory / step", "chunk"),
    ),
    CALLS: (
        *("model", "batch", "precision", "first call", "new batch size", "one sample"),
        *("operations / backward", "waits"),
    ),
}


class LeftOutError(Exception):
    """A row that is not measured; the message says why."""


class Row(NamedTuple):
    """What may be measured."""

    table: str
    label: str
    measure: Callable[[], list[Value]]
    share: float = 1.0  # of the time, after which it is not begun


class Page:
    """The tables, printed row by row and written with each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables = {title: Table(title, COLUMNS[title], NOTES[title]) for title in COLUMNS}
        self.missing = Table("Left out", ("row", "why"))
        self.head = f"{machine()}. Goal: {GOAL} of a step's time, {MEMORY_GOAL} of its memory."
        print(self.head, flush=True)

    def add(self, row: Row, cells: list[Value]) -> None:
        table = self.tables[row.table]
        if not table.rows:
            print(f"\n{table.title}:", *table.columns, sep=" | ")
        table.rows.append(cells)
        print(*map(shown, cells), sep=" | ", flush=True)
        self._write()

    def leave_out(self, row: Row, why: str) -> None:
        self.missing.rows.append((f"{row.table}: {row.label}", why))
        print(row.label, f"left out: {why}", sep=" | ", flush=True)
        self._write()

    def _write(self) -> None:
        tables = [t for t in (*self.tables.values(), self.missing) if t.rows]
        lines = ["# The engine on a GPU", "", f"As `make bench-gpu` wrote it. {self.head}", ""]
        text = "\n".join([*lines, *(table.markdown() for table in tables)])
        self.path.write_text(text, encoding="utf-8")
        write_csv(tables, self.path.with_suffix(".csv"))


class Clock:
    """How much of the time is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.start = seconds, time.perf_counter()

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.start)

    def allows(self, share: float) -> bool:
        return self.left > (1 - share) * self.seconds


@dataclass(frozen=True)
class Setting:
    """A case at one batch size, and a small one on which methods are checked."""

    case: Case
    reduced: Case
    batch: int
    precision: str = "float32"

    def __str__(self) -> str:
        return f"{self.case.name}, N = {self.batch}, {self.precision}"


def settings(reduced: bool) -> list[Setting]:
    """Return every model at its batch sizes and precisions, or the small ones at one."""
    found = []
    for large in LARGE:
        case = large.reduced if reduced else large.case
        batches = (BATCH,) if reduced else (case.batch, *large.more)
        found += [Setting(case, large.reduced, batch) for batch in batches]
        if large.autocast:
            cast = in_bfloat16(case)
            found += [Setting(cast, large.reduced, batch, "bfloat16") for batch in batches]
    return found


class Run:
    """All rows, the most important first: exactness, the engine, then its peers."""

    def __init__(self, device: str, reduced: bool, clock: Clock) -> None:
        self.device, self.reduced, self.clock = device, reduced, clock
        self.spend = 0.0 if reduced else SPEND
        self.learned: dict[str, tuple[int, float]] = {}  # case -> batch, seconds of a first call

    def rows(self) -> Iterator[Row]:
        for name in list(ZOO)[: FEW if self.reduced else None]:
            for dtype in exactness.formats(name):
                what = partial(self._exactness, name, dtype)
                yield Row(EXACT, f"{name}, {_named(dtype)}", what, SHARE)
        of = settings(self.reduced)
        for s in of:
            yield Row(SPEED, f"{s}, {ENGINE}", partial(self._engine, s))
            yield Row(CALLS, str(s), partial(self._calls, s))
        for s, name in itertools.product(of, PEERS):
            yield Row(SPEED, f"{s}, {name}", partial(self._peer, s, name))

    def _exactness(self, name: str, dtype: torch.dtype) -> list[Value]:
        error = exactness.error(name, self.device, dtype)
        verdict = "exact" if error <= exactness.RTOL[dtype] else "WRONG"
        return [name, _named(dtype), error, verdict]

    def _engine(self, s: Setting) -> list[Value]:
        return self._speed(s, ENGINE, self._started(s).pairs(self.spend))

    def _calls(self, s: Setting) -> list[Value]:
        return [s.case.name, s.batch, s.precision, *self._started(s).calls(self.spend)]

    def _peer(self, s: Setting, name: str) -> list[Value]:
        why = pairs.wrong(name, s.reduced, self.device)
        if why:
            raise LeftOutError(why)
        return self._speed(s, name, pairs.peer(name, self._subject(s), self.spend))

    def _subject(self, s: Setting) -> pairs.Subject:
        return pairs.subject(s.case, s.batch, self.device)

    def _started(self, s: Setting) -> pairs.Engine:
        """Return the engine after its first call, which takes longer the larger the batch is.

        Raises:
            LeftOutError: where a call on a smaller batch says that there is no time for it.
        """
        batch, before = self.learned.get(s.case.name, (s.batch, 0.0))
        expected = before * max(1.0, s.batch / batch) ** 2  # backpropagations, and their length
        if expected > self.clock.left:
            raise LeftOutError(f"its first call would take some {expected:.0f} s")
        engine = pairs.engine(self._subject(s))
        self.learned[s.case.name] = s.batch, engine.first
        return engine

    def _speed(self, s: Setting, method: str, found: pairs.Pairs) -> list[Value]:
        size = sum(p.numel() for p in self._subject(s).module.parameters())
        return [s.case.name, size / 1e6, s.batch, s.precision, method, *found]


def measure(rows: Iterable[Row], page: Page, clock: Clock) -> None:
    """Measure row by row; whatever goes wrong is what the page says of a row."""
    for row in rows:
        if not clock.allows(row.share):
            page.leave_out(row, "the time was over")
            continue
        try:
            page.add(row, row.measure())
        except torch.OutOfMemoryError:
            page.leave_out(row, "too much memory")
        except LeftOutError as error:
            page.leave_out(row, str(error))
        except ModuleNotFoundError as error:
            page.leave_out(row, f"not installed: {error.name}")
        except Exception as error:
            page.leave_out(row, refusal(error))
        gc.collect()
        torch.cuda.empty_cache()


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the engine on a GPU.")
    parser.add_argument("page", type=Path, help="a Markdown file to write")
    parser.add_argument("--reduced", action="store_true", help="small models, on any device")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="to begin rows within")
    given = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not given.reduced:
        sys.exit("no CUDA GPU is at hand; --reduced measures small models without one")
    clock = Clock(given.seconds)
    os.environ[FOLDER] = ""  # a first call is to know nothing of an earlier process
    quieten()
    gc.freeze()  # what the libraries are made of; it would be looked at before every pair
    measure(Run(device, given.reduced, clock).rows(), Page(given.page), clock)


if __name__ == "__main__":
    main()
