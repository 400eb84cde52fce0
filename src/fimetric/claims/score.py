"""Is the gradient a score?

Criterion, of all parameters together, on samples of the model, with the noise that the scores use:
the claim HOLDS where the upper end of the interval of rho = |E g|^2 / E|g|^2 is below .02; IN PART
where it is below .1; it does NOT where the lower end is above .02; else the samples are too few,
and it is undecided. Where the model has no sampler, held-out data stand in and the best verdict is
in part.

A bound or a denoising loss has noise, one draw for all samples. Beside it stands rho with a draw
for each sample, which tells how much of the mean is due to the one draw.
"""

from pathlib import Path

import numpy as np

from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.score import draw_score_tests
from fimetric.claims.study import Study
from fimetric.data import Samples
from fimetric.fisher.score import ScoreTest, score_test
from fimetric.metrics import Estimate
from fimetric.objectives import Objective

SMALL, MODERATE = 0.02, 0.1
BATCH, FEW = 60, 20  # samples whose inner products are taken, at least a group of 20
LEAST = 5  # batches


def score(study: Study, folder: Path) -> Finding:
    """Measure how far the mean gradient is from zero, on model samples and on held-out data."""
    own = study.sets[study.own.name]
    tests: dict[str, ScoreTest] = {}
    drawn = study.drawn
    if drawn is not None:
        tests["samples of the model"] = _test(study, drawn.objective, drawn.samples)
    tests[f"held-out {study.own.name}"] = _test(study, study.objective, own)
    if drawn is not None and study.objective.kind != "likelihood":
        own_noise = drawn.objective.with_own_noise()
        tests["samples of the model, noise of their own"] = _test(study, own_noise, drawn.samples)
    if drawn is not None and drawn.control is not None and len(drawn.control) >= 2 * FEW:
        tests["samples drawn otherwise"] = _test(study, drawn.objective, drawn.control, FEW)
    draw_score_tests(folder / "score.png", tests)
    decisive = next(iter(tests.values())).whole
    verdict = judge(decisive, study.drawn is not None)
    return Finding(
        claim="score",
        title="The gradient is a score: under the model its mean is zero",
        verdict=verdict,
        because=f"|E g|^2 / E|g|^2 of all parameters is {decisive} on {next(iter(tests))} "
        f"(0 for a score; holds up to {SMALL}, in part up to {MODERATE}).",
        numbers={f"rho, {name}": test.whole.value for name, test in tests.items()}
        | {
            f"growth at B=5, {name}": test.growth[5]
            for name, test in tests.items()
            if 5 in test.growth
        },
        tables=[_table(tests)],
        pictures=[
            Picture(
                "score.png",
                "Left: share of the mean gradient per layer. Right: how the joint gradient of a "
                "group grows with its size, between a score (1) and gradients all alike (B).",
            )
        ],
        notes=_notes(study),
    )


def judge(whole: Estimate, on_samples: bool) -> Verdict:
    """Return the verdict of the criterion above."""
    if whole.high < SMALL:
        return "holds" if on_samples else "holds in part"
    if whole.high < MODERATE:
        return "holds in part"
    return "does not hold" if whole.low > SMALL else "undecided"


def _test(study: Study, objective: Objective, samples: Samples, batch: int = BATCH) -> ScoreTest:
    first = next(iter(objective.views()))
    batch = max(2, min(batch, len(samples) // LEAST))  # few batches tell no error
    groups = [B for B in (2, 5, 10, 20) if batch >= B]
    return score_test(objective, samples, batch, groups, first, study.progress)


def _table(tests: dict[str, ScoreTest]) -> Table:
    sizes = sorted({size for test in tests.values() for size in test.growth})
    rows = []
    for name, test in tests.items():
        used = np.isfinite(test.ratio)
        zero = (test.low[used] <= 0) & (test.high[used] >= 0)
        rows.append(
            [
                name,
                str(test.samples),
                str(test.whole),
                f"{np.median(test.ratio[used]):.3f}",
                f"{zero.sum()} of {used.sum()}",
                *(f"{test.growth[size]:.2f}" if size in test.growth else "-" for size in sizes),
            ]
        )
    heads = [
        "samples of",
        "n",
        "rho, all parameters",
        "median layer",
        "layers whose interval has 0",
    ]
    return Table("Mean of the gradient", [*heads, *(f"growth, B={size}" for size in sizes)], rows)


def _notes(study: Study) -> list[str]:
    notes = [
        f"The loss is a {study.objective.kind}."
        + ("" if study.objective.kind == "likelihood" else " Its gradient need not be a score.")
    ]
    if study.drawn is not None:
        notes.append(f"Samples of the model: {study.drawn.how}.")
    else:
        notes.append("The model has no sampler: held-out data stand in for its own samples.")
    return notes
