"""What a sample costs with each preset, in the middle of a long stream, in training steps."""

from collections.abc import Callable
from dataclasses import replace

import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.tables import Table
from benchmarks.speed.timing import STEP, Work, in_turns, seconds_of_user, training_step

BATCH, FITTED = 64, 256
WARM = 3  # batches: the plan, the check of its first reuse, and the round that does not count
FORMER = "nearest-neighbours"  # norms and losses alone
NOTE = (
    f"Time of scoring a batch of {BATCH} in the middle of a stream, data to p-values, over that of "
    "one training step on the same model and batch; medians of interleaved repeats, quartiles in "
    f"brackets. `{FORMER}` reads norms and losses alone. Pictures are pieces of a photograph, "
    "texts random tokens. Counted are seconds of the processor in user mode on one thread."
)


def _photographs(n: int) -> Tensor:
    """Return pieces (N, 3, 32, 32) of a photograph: noise takes a compressor longer."""
    photograph = torch.from_numpy(load_sample_image("china.jpg")[::2, ::2].copy())
    pieces = photograph.unfold(0, 32, 8).unfold(1, 32, 8).flatten(0, 1)
    chosen = torch.arange(n) * 131 % len(pieces)  # prime: all in turn, neighbours far apart
    return pieces[chosen] / 255


STANDARD = fm.objectives.standard_objective
SUBJECTS = (
    replace(CASES["VAE"], sample=_photographs, losses=STANDARD, batch=BATCH),
    replace(CASES["Glow"], sample=_photographs, losses=STANDARD, batch=BATCH),
    replace(CASES["GPT-2"], losses=fm.objectives.CausalLM, batch=BATCH),
)


def measure(repeats: int, log: Callable[[str], None], cases: tuple[Case, ...] = SUBJECTS) -> Table:
    """Measure all presets and the former default, each on a detector of its own."""
    torch.set_num_threads(1)
    names = (FORMER, *fm.detectors.PRESETS)
    table = Table("Presets", ("model", "density", "time / step"), NOTE)
    for case in cases:
        log(f"{case.name}: presets")
        module, x = case.build()
        works = {STEP: training_step(module, case.losses(module), x)}
        works |= {name: _scoring(case, module, name, repeats) for name in names}
        _, found = in_turns(works, repeats, clock=seconds_of_user)
        table.rows += [(case.name, name, found[name]) for name in names]
    return table


def _scoring(case: Case, module: nn.Module, density: str, repeats: int) -> Work:
    """Return the work of the next batch of a stream."""
    samples = case.sample(FITTED + (repeats + WARM) * BATCH)
    fitted, streamed = samples.split([FITTED, len(samples) - FITTED])
    detector = fm.Detector(case.losses(module), density, batch_size=BATCH).fit(fitted)
    stream = detector.stream(streamed)

    def work() -> None:
        _, features = next(stream)
        detector.judge.columns(features, 0.1, None)

    for _ in range(WARM - 1):
        work()
    return work
