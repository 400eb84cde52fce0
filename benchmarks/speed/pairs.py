"""One method on one large model: timed in turns with a training step, and its peak of memory."""

import copy
import gc
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed.cases import Case, Losses
from benchmarks.speed.checking import fault
from benchmarks.speed.memory import extra
from benchmarks.speed.operations import Operations, counted
from benchmarks.speed.peers import LOOP, METHODS
from benchmarks.speed.timing import (
    STEP,
    Spread,
    Work,
    best_chunk,
    in_chunks,
    interleave,
    ratios,
    seconds,
    training_step,
)
from fimetric.gradients.precision import full_precision

LOOPED = 8  # samples of a batch that the loop is timed on; it takes as long for each
FEWEST, MOST = 3, 20  # pairs


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and a batch of it, on the device."""

    case: Case
    module: nn.Module
    x: Tensor
    losses: Losses

    @property
    def step(self) -> Work:
        """One training step."""
        return training_step(self.module, self.losses, self.x)

    def cut(self, batch: int) -> "Subject":
        return replace(self, x=self.x[:batch])


class Pairs(NamedTuple):
    """What one method did."""

    step: Spread  # milliseconds
    ratio: Spread
    peak_of_step: float  # MB
    peak: float  # over that of a step
    chunk: int | None = None


@lru_cache(maxsize=1)
def subject(case: Case, batch: int, device: str) -> Subject:
    """Build a case; the last one is kept, for the next row."""
    module, x = case.build(batch, device)
    return Subject(case, module, x, case.losses(module))


@lru_cache(maxsize=64)
def wrong(name: str, case: Case, device: str) -> str:
    """Return why a method's table of two samples is not the loop's, or nothing."""
    with full_precision():
        return fault(name, METHODS[name], case, device)


def peer(name: str, on: Subject, spend: float) -> Pairs:
    """Measure a peer for some seconds, on a model of its own, since some leave hooks behind."""
    table = METHODS[name](on.case, copy.deepcopy(on.module)).table
    if name == LOOP:
        few = on.x[:LOOPED]
        return measured(on, lambda: table(few), spend, len(on.x) / len(few))
    chunk = best_chunk(table, on.x)
    return measured(on, in_chunks(table, on.x, chunk), spend, chunk=chunk)


def measured(
    on: Subject, work: Work, spend: float, times: float = 1.0, chunk: int | None = None
) -> Pairs:
    """Measure a work that is done once to warm up and then in turns with a training step.

    Arguments:
        on: the model.
        work: to measure.
        spend: seconds for all pairs, within FEWEST and MOST of them.
        times: that the work would have to be done for the whole batch.
        chunk: samples at a time, for the record.
    """
    step, device = on.step, on.x.device.type
    peak_of_step, peak = (_peak(on.module, w) for w in (step, work))
    once = seconds(step, device) + seconds(work, device)
    repeats = max(FEWEST, min(MOST, int(spend / once)))
    found = interleave({STEP: step, "work": work}, repeats, device)
    ratio = ratios(found, "work").times(times)
    return Pairs(Spread.of(found[STEP]).times(1e3), ratio, peak_of_step, peak / peak_of_step, chunk)


def _peak(module: nn.Module, work: Work) -> float:
    """Return the peak of a work in MB, after one that may allocate what is kept."""
    work()
    module.zero_grad(set_to_none=True)
    gc.collect()
    device = next(module.parameters()).device.type
    return max(extra(work, device), 1e-6)  # on a CPU a small work may not show


class Calls(NamedTuple):
    """Single calls of the engine; times are over those of a step at the same number of samples."""

    first: float
    new_size: float
    one_sample: float
    operations: float  # over those of an ordinary backpropagation
    waits: int  # for the device


class Engine:
    """The engine on a model, from its first call on."""

    def __init__(self, on: Subject) -> None:
        self.on = on
        self.norms = fm.GradientNorms(on.module)
        self.first = self._seconds(on)
        self._call(on)  # the first reuse of a plan is checked, and the eighth
        self.ours, self.ordinary = self._operations()

    def pairs(self, spend: float) -> Pairs:
        return measured(self.on, lambda: self._call(self.on), spend)

    def calls(self, spend: float) -> Calls:
        device = self.on.x.device.type
        half, one = self.on.cut(max(1, len(self.on.x) // 2)), self.on.cut(1)
        new = self._seconds(half)
        for _ in range(2):
            self._call(one)
        return Calls(
            self.first / seconds(self.on.step, device),
            new / seconds(half.step, device),
            measured(one, lambda: self._call(one), spend).ratio.median,
            self.ours.total / self.ordinary.total,
            self.ours.waits.total(),
        )

    def _call(self, on: Subject) -> Tensor:
        return self.norms(on.losses(on.x))

    def _seconds(self, on: Subject) -> float:
        return seconds(lambda: self._call(on), on.x.device.type)

    def _operations(self) -> tuple[Operations, Operations]:
        """Count backwards alone: counting changes what some operations of a forward pass are."""
        losses = self.on.losses(self.on.x)
        ours = counted(lambda: self.norms(losses))
        losses = self.on.losses(self.on.x)
        return ours, counted(losses.sum().backward)


@lru_cache(maxsize=1)
def engine(on: Subject) -> Engine:
    """Start the engine on a model; the last one is kept, for the next row."""
    return Engine(on)
