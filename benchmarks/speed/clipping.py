"""Time and memory of clipped sums of gradients: the engine, its peers and one training step."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.speed import memory
from benchmarks.speed.cases import CASES, Case, gpt2
from benchmarks.speed.checking import fault, norms_by_the_loop, refusal
from benchmarks.speed.clippers import CLIPPERS, Maker, loop
from benchmarks.speed.peers import Method
from benchmarks.speed.tables import Table
from benchmarks.speed.timing import (
    STEP,
    Entry,
    Timed,
    Work,
    in_turns,
    seconds_of_user,
    training_step,
)

NOTE = (
    "Time of (forward + Σ_n min(1, C / |g_n|) g_n) over that of one training step (forward + "
    "`losses.sum().backward()`) on the same model and batch, without noise; medians of interleaved "
    "repeats, quartiles in brackets. Counted are seconds of the processor in user mode on one "
    "thread, which a busy machine moves little; what the system takes to hand out memory is left "
    "out. All take the batch at once, but the loop, which takes one sample at a time. Memory is "
    "the peak of a batch over what was there before it, over the same of a step. A method whose "
    "sum over two samples, one of them clipped, is not that of the loop has no time. *Changes*: "
    "what was changed in the model, at the same function, so that it can be read."
)
COLUMNS = ("model", "method", "time / step", "memory / step", "changes")
UNTIED = "GPT-2, head not tied"  # ghost clipping refuses tied parameters
CLIPPED = {
    case.name: case
    for case in (
        CASES["VAE"],
        CASES["GPT-2"],
        replace(CASES["GPT-2"], name=UNTIED, model=partial(gpt2, tied=False)),
    )
}


def bound(case: Case) -> float:
    """Return a C between the norms of two samples, of which one is then clipped."""
    module, x = case.build(2)
    return float(norms_by_the_loop(case, module, x).sum(1).sqrt().mean())


def fault_of(name: str, make: Maker, case: Case, C: float) -> str:
    """Return why a clipper cannot be counted on a case, or nothing where it is right.

    The norm of the sum is compared, tensor by tensor: a transposed weight has the same.
    """

    def table(case: Case, module: nn.Module) -> Method:
        sums = make(case, module, C).sums
        return Method(lambda x: _squares(sums(x)))

    def expected(case: Case, module: nn.Module, x: Tensor) -> Tensor:
        return _squares(loop(case, module, C).sums(x))

    return fault(name, table, case, oracle=expected)


def _squares(sums: Sequence[Tensor]) -> Tensor:
    """Return the squared norms (1, J) of a sum."""
    return torch.stack([g.square().sum() for g in sums]).unsqueeze(0)


def timed(case: Case, repeats: int) -> Timed:
    """Check every clipper on a case, then time those that are right."""
    torch.set_num_threads(1)
    C, (module, x) = bound(case), case.build()
    works: dict[str, Work] = {STEP: training_step(module, case.losses(module), x)}
    entries = {name: _enter(name, case, C, works) for name in CLIPPERS}
    step, found = in_turns(works, repeats, clock=seconds_of_user)
    for name, ratio in found.items():
        entries[name].ratio = ratio
    return Timed(case, len(x), sum(p.numel() for p in module.parameters()), step, entries)


def _enter(name: str, case: Case, C: float, works: dict[str, Work]) -> Entry:
    """Make a clipper ready, add it to the works where it is right, and say what it did."""
    entry = Entry(fault=fault_of(name, CLIPPERS[name], case, C))
    if entry.fault:
        return entry
    module, x = case.build()
    try:
        sums, entry.note = CLIPPERS[name](case, module, C)
        for _ in range(2):  # the engine's plan, and the check of its first reuse
            sums(x)
        works[name] = partial(sums, x)
    except Exception as error:  # right on two samples, but not here
        entry.fault = refusal(error)
    return entry


def one_batch(case_name: str, method: str) -> tuple[nn.Module, Work]:
    """Return a model and the work of one batch on it."""
    torch.set_num_threads(1)
    case = CLIPPED[case_name]
    module, x = case.build()
    if method == STEP:
        return module, training_step(module, case.losses(module), x)
    return module, partial(CLIPPERS[method](case, module, bound(case)).sums, x)


def _peak(case: Case, method: str) -> float:
    return memory.alone(memory.peak, partial(one_batch, case.name, method))


def measure(
    repeats: int, log: Callable[[str], None], cases: Iterable[Case] = CLIPPED.values()
) -> Table:
    table = Table("Clipped sums of gradients", COLUMNS, NOTE)
    for case in cases:
        log(f"{case.name}: clipped sums")
        methods, step = timed(case, repeats).methods, _peak(case, STEP)
        for name, entry in methods.items():
            share = _peak(case, name) / step if entry.ratio else None
            row = [case.name, name, entry.ratio or entry.fault, share, entry.note or None]
            table.rows.append(row)
    return table
