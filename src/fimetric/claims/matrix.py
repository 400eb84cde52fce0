"""Does the diagonal of the Fisher information matrix dominate?

What is F depends on the loss. With an exact likelihood it is E[g g^T] over samples of the model. Of
a bound there is only the second moment of its gradient, and of a denoising loss that and the Fisher
matrix of its regression (Gauss-Newton); second moments are shown beside covariances, since their
gradient has a mean.

Criterion, on the first of these that the model has (F, Gauss-Newton, covariance): with r the root
mean square of the normalised entries off the diagonal, freed of sampling error, within and across
tensors, the claim HOLDS where both are at most .1, IN PART where both are at most .3; else it does
not.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.matrix import draw_entries, draw_windows
from fimetric.claims.study import Drawn, Study
from fimetric.fisher.matrix import (
    Entries,
    OffDiagonal,
    choose_weights,
    gradient_entries,
    normalised,
    off_diagonal,
    random_signs,
)
from fimetric.fisher.regression import DenoisingRegression, Noised, residual_deviation
from fimetric.fisher.timesteps import Draw, at
from fimetric.objectives import Denoising

SMALL, MODERATE = 0.1, 0.3
PER_LAYER, WINDOW, LAYERS = 12, 40, 3


def matrix(study: Study, folder: Path) -> Finding:
    """Measure entries of the matrix on and off the diagonal."""
    matrices = list(_matrices(study))
    sizes = {what: off_diagonal(e, c, study.seed) for what, e, _, c in matrices}
    moments = {what: e.covariance() if c else e.second_moment() for what, e, _, c in matrices}
    windows = {what: (w, w.covariance() if c else w.second_moment()) for what, _, w, c in matrices}
    draw_windows(folder / "windows.png", windows)
    first, entries, _, centred = matrices[0]
    noise = normalised(random_signs(entries, centred, study.seed).second_moment())
    off = ~np.eye(len(noise), dtype=bool)
    draw_entries(folder / "entries.png", moments, noise[off])
    decisive = sizes[first]
    rms = {where: size.root_mean_square for where, size in decisive.items()}
    return Finding(
        claim="matrix",
        title="The Fisher information matrix is dominated by its diagonal",
        verdict=judge(decisive),
        because=f"{first}: normalised entries off the diagonal have root mean square "
        f"{rms['within']:.3f} within tensors and {rms['across']:.3f} across them, without sampling "
        f"error (holds up to {SMALL}, in part up to {MODERATE}).",
        numbers={f"root mean square {where}": value for where, value in rms.items()},
        tables=[_table(sizes, moments)],
        pictures=[
            Picture("windows.png", f"Windows for {WINDOW} random weights of {LAYERS} tensors."),
            Picture(
                "entries.png",
                f"Distribution of the entries for {PER_LAYER} random weights of every tensor, and "
                "what the same gradients give with random signs: the sampling error.",
            ),
        ],
        notes=_notes(study, entries),
    )


def judge(sizes: dict[str, OffDiagonal]) -> Verdict:
    """Return the verdict of the criterion above; nan, where there are no such pairs, is no bar."""
    worst = np.nanmax([size.root_mean_square for size in sizes.values()])
    if worst <= SMALL:
        return "holds"
    return "holds in part" if worst <= MODERATE else "does not hold"


def _matrices(study: Study) -> Iterator[tuple[str, Entries, Entries, bool]]:
    """Yield what the matrix is, weights of all tensors, weights of a few, and whether centred."""
    place = study.drawn or Drawn(study.objective, study.sets[study.own.name], "held-out data")
    objective, samples = place.objective, place.samples
    on = "the model's samples" if study.drawn else f"held-out {study.own.name}"
    if isinstance(objective, Denoising):
        yield ("Gauss-Newton matrix of the denoising", *_regression(study, objective, place), False)
    every, few = _entries(study, objective, samples)
    if objective.kind == "likelihood":
        name = "Fisher matrix" if study.drawn else "Second moment of the gradient"
        yield f"{name}, on {on}", every, few, False
        return
    yield f"Covariance of the {objective.kind}'s gradient", every, few, True
    yield f"Second moment of the {objective.kind}'s gradient", every, few, False


def _regression(study: Study, objective: Denoising, place: Drawn) -> tuple[Entries, Entries]:
    one = at(objective, Draw(objective.timesteps[0], 0))
    deviation = residual_deviation(one, place.samples, study.batch_size)
    regression = DenoisingRegression.of(one, deviation)
    return _entries(study, regression, Noised(place.samples, study.batch_size, study.seed))


def _entries(study: Study, objective: object, data: object) -> tuple[Entries, Entries]:
    """Return the gradients for a few weights of all tensors, and for more weights of a few."""
    module = study.objective.module
    sizes = sorted((p.numel() for p in module.parameters() if p.requires_grad), reverse=True)
    every = choose_weights(module, PER_LAYER, seed=study.seed)
    shown = min(LAYERS, len(sizes))  # of a small model the window is smaller
    few = choose_weights(module, min(WINDOW, sizes[shown - 1]), shown, study.seed)
    view = next(iter(objective.views()))  # type: ignore[attr-defined]
    found = [
        gradient_entries(objective, data, w, study.batch_size, view, study.progress)  # type: ignore[arg-type]
        for w in (every, few)
    ]
    return found[0], found[1]


def _table(sizes: dict[str, dict[str, OffDiagonal]], moments: dict[str, np.ndarray]) -> Table:
    rows = []
    for what, found in sizes.items():
        F = moments[what]
        off = ~np.eye(len(F), dtype=bool)
        raw = f"{np.diag(F).mean() / np.abs(F[off]).mean():.0f}"
        for where, size in found.items():
            cells = (size.mean_absolute, size.noise, size.root_mean_square)
            rows.append([what, f"{where} tensors", *(f"{c:.3f}" for c in cells), raw])
    heads = ["matrix", "entries", "mean absolute", "the same, random signs", "root mean square*"]
    return Table(
        "Normalised entries off the diagonal (*without sampling error)",
        [*heads, "mean diagonal / mean absolute off diagonal, as they are"],
        rows,
    )


def _notes(study: Study, entries: Entries) -> list[str]:
    n, K = entries.values.shape
    notes = [
        f"{n} samples, {K} weights of {len(entries.names)} tensors; {entries.dead} more chosen "
        "weights have no gradient on any sample and are left out."
    ]
    if study.drawn is not None:
        notes.append(f"Samples of the model: {study.drawn.how}.")
    if study.objective.kind != "likelihood":
        notes.append(
            f"A {study.objective.kind} has no Fisher matrix in the strict sense: its second moment "
            "and covariance are called so."
        )
    return notes
