"""A language model of full size: GPT-2 small's shape, with random weights.

References:
    Language Models are Unsupervised Multitask Learners (Radford, Wu, Child, Luan, Amodei and
    Sutskever, 2019).
"""

import gc
import statistics
from collections.abc import Callable, Iterable
from functools import partial

from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed import memory
from benchmarks.speed.cases import Case, gpt2, tokens
from benchmarks.speed.summary import met
from benchmarks.speed.tables import Table
from benchmarks.speed.timing import STEP, Spread, Work, interleave, ratios, seconds, training_step

LENGTH = 256
SIZES = {"layers": 12, "width": 768, "heads": 12, "vocabulary": 50257, "positions": 1024}
SMALL = Case(
    "GPT-2 small",
    partial(gpt2, **SIZES),
    partial(tokens, vocabulary=SIZES["vocabulary"], positions=LENGTH),
    fm.objectives.CausalLM,
    4,
    1.0,
)
MEMORY_GOAL = 1.1  # peak of the engine over that of a step
NOTE = (
    "Norms of all parameters, and of those of the last of twelve blocks while the others are not "
    "frozen. Time and memory are over those of a step, as above; goal: at most "
    f"{MEMORY_GOAL} of its memory. The first batch is the one that learns the model and is checked."
)
COLUMNS = (
    *("parameters", "million", "one step, s", "time / step", "first batch / step"),
    *("one step, MB", "memory / step", "first batch's memory / step", "goal for memory"),
)
Parameters = Iterable[tuple[str, Tensor]]
CHOICES: dict[str, Callable[[nn.Module], Parameters]] = {
    "all": lambda module: module.named_parameters(),
    "the last block": lambda module: module.get_submodule("transformer.h")[-1].named_parameters(),
}


def _works(case: Case) -> tuple[nn.Module, dict[str, Work]]:
    """Return the model, a training step on it and a table of each choice of its parameters."""
    module, x = case.build()
    losses = case.losses(module)

    def table(choose: Callable[[nn.Module], Parameters]) -> Work:
        norms = fm.GradientNorms(choose(module))
        return lambda: norms(losses(x))

    tables = {name: table(choose) for name, choose in CHOICES.items()}
    return module, {STEP: training_step(module, losses, x), **tables}


def peaks(name: str, case: Case = SMALL, repeats: int = memory.REPEATS) -> tuple[float, float]:
    """Return the peak in MB of the first batch, and the median of those after the second."""
    module, works = _works(case)
    found = []
    for _ in range(2 + repeats):
        module.zero_grad(set_to_none=True)
        gc.collect()
        found.append(memory.extra(works[name]))
    return found[0], statistics.median(found[2:])


def measure(repeats: int, case: Case = SMALL) -> Table:
    """Measure times here, and each peak in a process of its own."""
    module, works = _works(case)
    works[STEP]()
    first = {name: seconds(works[name]) for name in CHOICES}
    interleave(works, 1)  # the first reuse of a plan is checked
    times = interleave(works, repeats)
    held = {name: memory.alone(peaks, name, case) for name in works}
    step, (_, whole) = Spread.of(times[STEP]), held[STEP]
    table = Table(f"{case.name}, {case.batch} texts of {LENGTH} tokens", COLUMNS, NOTE)
    for name, choose in CHOICES.items():
        millions = sum(p.numel() for _, p in choose(module)) / 1e6
        of_first, later = (peak / whole for peak in held[name])
        time, start = ratios(times, name), first[name] / step.median
        goal = met(later, MEMORY_GOAL)
        table.rows.append((name, millions, step, time, start, whole, later, of_first, goal))
    return table
