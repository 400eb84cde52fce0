"""Times of the engine, of one training step and of all peers, in turns."""

import gc
import math
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.speed.cases import Case
from benchmarks.speed.checking import NEEDS, fault, refusal
from benchmarks.speed.peers import ENGINE, LOOP, METHODS, UNPREPARED

Work = Callable[[], object]
Clock = Callable[[], float]
STEP = "one step"
CHUNKS = (1, 2, 4, 8)  # a batch is tried in that many parts


@dataclass(frozen=True)
class Spread:
    """A median between the quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high)

    def times(self, factor: float) -> "Spread":
        return Spread(self.median * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


@dataclass
class Entry:
    """What one method did on one case."""

    ratio: Spread | None = None  # time over that of a step
    first: float | None = None  # time of the first batch, in steps
    chunk: int | None = None
    fault: str = ""
    note: str = ""
    as_is: str = ""  # the fault on the model as it was written, for libraries that need changes


@dataclass
class Timed:
    """What was measured on one case."""

    case: Case
    batch: int
    parameters: int
    step: Spread  # seconds
    methods: dict[str, Entry] = field(default_factory=dict)


def seconds(work: Work, device: str = "cpu", clock: Clock = time.perf_counter) -> float:
    _wait(device)
    start = clock()
    work()
    _wait(device)
    return clock() - start


def seconds_of_user() -> float:
    """Return the processor's seconds in user mode, which a busy machine moves little."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def interleave(
    works: dict[str, Work], repeats: int, device: str = "cpu", clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Time every work once a round, so that a slow spell of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        gc.collect()
        for name, work in works.items():
            times[name].append(seconds(work, device, clock))
    return times


def in_turns(
    works: dict[str, Work], repeats: int, clock: Clock = time.perf_counter
) -> tuple[Spread, dict[str, Spread]]:
    """Return the seconds of a step, and the times of all other works over those of a step.

    The libraries take turns of their own with the step. They register hooks in every pass, and
    after that the engine looks at its next batch for hooks that change gradients, which costs two
    backward passes: it does so once here, in a round that does not count.
    """
    steps: list[float] = []
    found: dict[str, Spread] = {}
    for libraries in (False, True):
        names = [name for name in works if name != STEP and (name in NEEDS) is libraries]
        group = {name: works[name] for name in (STEP, *names)} if names else {}
        interleave(group, 1, clock=clock)
        times = interleave(group, repeats, clock=clock)
        found |= {name: ratios(times, name) for name in names}
        steps += times.get(STEP, [])
    return Spread.of(steps), found


def ratios(times: dict[str, list[float]], name: str) -> Spread:
    pairs = zip(times[name], times[STEP], strict=True)
    return Spread.of([time / step for time, step in pairs])


def training_step(module: nn.Module, losses: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    def step() -> None:
        module.zero_grad(set_to_none=True)
        losses(x).sum().backward()

    return step


def in_chunks(table: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Work:
    return lambda: torch.cat([table(part) for part in x.split(size)])


def best_chunk(table: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Return the chunk size at which a sample takes the least time, of those that fit into memory.

    Raises:
        torch.OutOfMemoryError: where none does.
    """
    sizes = sorted({max(1, len(x) // parts) for parts in CHUNKS})

    def cost(size: int) -> float:
        part = x[:size]
        try:
            table(part)  # the first of a size may compile or allocate
            return min(seconds(lambda: table(part), x.device.type) for _ in range(2)) / size
        except torch.OutOfMemoryError:
            if size == sizes[0]:
                raise
            return math.inf

    return min(sizes, key=cost)


def measure(case: Case, repeats: int, batch: int | None = None) -> Timed:
    """Check every method on a case, then time those that are right."""
    module, x = case.build(batch)
    step = training_step(module, case.losses(module), x)
    step()
    works: dict[str, Work] = {STEP: step}
    entries: dict[str, Entry] = {}
    for name in METHODS:
        entries[name] = _enter(name, case, len(x), works)
    usual, found = in_turns(works, repeats)
    for name, ratio in found.items():
        entries[name].ratio = ratio
    for entry in entries.values():
        if entry.first is not None:
            entry.first /= usual.median
    size = sum(p.numel() for p in module.parameters())
    return Timed(case, len(x), size, usual, entries)


def _enter(name: str, case: Case, batch: int, works: dict[str, Work]) -> Entry:
    """Make a method ready, add it to the works where it is right, and say what it did."""
    entry = Entry(fault=fault(name, METHODS[name], case))
    if name in UNPREPARED:
        entry.as_is = fault(name, UNPREPARED[name], case) or "right"
    if entry.fault:
        return entry
    module, x = case.build(batch)  # each has its own, some leave hooks behind
    try:
        table, entry.note = METHODS[name](case, module)
        if name == ENGINE:
            entry.first = seconds(lambda: table(x))
            table(x)  # the first reuse of a plan is checked
        if name in (ENGINE, LOOP):
            works[name] = lambda: table(x)
        else:
            entry.chunk = best_chunk(table, x)
            works[name] = in_chunks(table, x, entry.chunk)
    except Exception as error:  # right in float64 and on two samples, but not here
        entry.fault = refusal(error)
    return entry
