"""Whether time grows linearly in the number of samples and in the size of the model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed.cases import CASES, Case, gpt2
from benchmarks.speed.timing import STEP, Spread, interleave, ratios, training_step

BATCHES = tuple(2**k for k in range(9))
LAYERS = (1, 2, 4, 8)
LINEAR = 1.1  # largest exponent that counts as linear


@dataclass(frozen=True)
class Point:
    """One size: number of samples or of million parameters."""

    size: float
    step: Spread  # seconds
    engine: Spread  # seconds
    ratio: Spread


def over_batches(case: Case, batches: Sequence[int], repeats: int) -> list[Point]:
    module, x = case.build(max(batches))
    losses = case.losses(module)
    return [_point(n, module, losses, x[:n], repeats) for n in batches]


def over_layers(layers: Sequence[int], repeats: int) -> list[Point]:
    """Measure GPT-2 of several depths; sizes are millions of parameters."""
    points = []
    for depth in layers:
        case = replace(CASES["GPT-2"], model=lambda depth=depth: gpt2(depth))
        module, x = case.build(8)
        size = sum(p.numel() for p in module.parameters()) / 1e6
        points.append(_point(size, module, case.losses(module), x, repeats))
    return points


def _point(
    size: float,
    module: nn.Module,
    losses: Callable[[Tensor], Tensor],
    x: Tensor,
    repeats: int,
) -> Point:
    norms = fm.GradientNorms(module)
    step = training_step(module, losses, x)
    works = {STEP: step, "engine": lambda: norms(losses(x))}
    for _ in range(2):  # the plan, and the check of its first reuse
        interleave(works, 1)
    times = interleave(works, repeats)
    spreads = (Spread.of(times[STEP]), Spread.of(times["engine"]), ratios(times, "engine"))
    return Point(size, *spreads)


def exponent(points: Sequence[Point]) -> float:
    """Return a of time ~ size^a, fitted to the upper half, where fixed costs are small."""
    upper = points[len(points) // 2 :] if len(points) > 3 else points
    sizes = [math.log(p.size) for p in upper]
    times = [math.log(p.engine.median) for p in upper]
    return float(np.polyfit(sizes, times, 1)[0])
