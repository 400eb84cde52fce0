"""At which timesteps, and with how many noise draws, do a diffusion model's norms detect?

The paper scores with one draw at t = 0 and reports that later timesteps do nearly as well. The
criterion is on t = 0, one draw, against every later t: the claim that the FIRST TIMESTEP DOES AS
WELL AS ANY HOLDS where, on the mean AUROC of the layer-wise Gaussian over the foreign sets, t = 0
reaches .8 and is within .02 of the best timestep and of all timesteps side by side; IN PART within
.1; else it does not. More noise draws are shown beside and decide nothing.

Nothing is chosen by these numbers: they are measured on foreign data.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fimetric.claims.aurocs import DENSITY as OURS
from fimetric.claims.aurocs import DETECTORS, Aurocs, aurocs
from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.timesteps import draw_layers_by_time, draw_over_draws, draw_over_time
from fimetric.claims.study import Study
from fimetric.features.table import Features
from fimetric.fisher.timesteps import Draw, mean_of_draws, norms_over_time, side_by_side
from fimetric.judging.splits import halves
from fimetric.metrics import Estimate, auroc
from fimetric.objectives import Denoising
from fimetric.typing import Array

TIMES = (0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 998)
SEVERAL = (0, 31, 255)  # where several draws are taken
DRAWS = 8
FEWER = 300  # samples of each set for which more than one draw is taken
NEAR, FAR, USEFUL = 0.02, 0.1, 0.8
REPEATS = 200  # bootstrap: some hundred intervals are drawn

Tables = Mapping[str, Features]


def timesteps(study: Study, folder: Path) -> Finding | None:
    """Measure AUROCs over time; None for a model without timesteps, or without foreign sets."""
    objective = study.objective
    if not isinstance(objective, Denoising) or not study.foreign:
        return None
    steps = len(objective.scheduler.alphas_cumprod)
    times = tuple(t for t in TIMES if t < steps)
    several = tuple(t for t in SEVERAL if t < steps)
    settings = (study.folder / "features", study.batch_size, study.progress)
    first = norms_over_time(objective, study.sets, [Draw(t, 0) for t in times], *settings)
    over_time = {t: first[Draw(t, 0)] for t in times}
    fewer = {name: s.select(range(min(FEWER, len(s)))) for name, s in study.sets.items()}
    more = [Draw(t, k) for t in several for k in range(1, DRAWS)]
    later = norms_over_time(objective, fewer, more, *settings)
    draws = {
        t: [_shortened(over_time[t]), *(later[Draw(t, k)] for k in range(1, DRAWS))]
        for t in several
    }
    joined = {name: side_by_side([over_time[t][name] for t in times]) for name in study.sets}
    return _finding(study, folder, over_time, draws, joined)


def _shortened(tables: Tables) -> Tables:
    """Return the first samples of every set, those of which more draws are taken."""
    return {name: features.select(slice(FEWER)) for name, features in tables.items()}


def _finding(
    study: Study,
    folder: Path,
    over_time: Mapping[int, Tables],
    draws: Mapping[int, Sequence[Tables]],
    joined: Tables,
) -> Finding:
    own, times = study.own.name, list(over_time)
    by_time = {t: _aurocs(tables, own, study.seed) for t, tables in over_time.items()}
    together = _aurocs(joined, own, study.seed)
    by_draws = {t: _over_draws(many, own, study.seed) for t, many in draws.items()}
    lines = {
        name: {d: [by_time[t][name][d] for t in times] for d in DETECTORS} for name in study.foreign
    }
    draw_over_time(folder / "timesteps.png", times, lines)
    if by_draws:
        draw_over_draws(folder / "draws.png", {f"t = {t}": s for t, s in by_draws.items()}, OURS)
    layers = {name: _layers(over_time, own, name) for name in study.foreign}
    draw_layers_by_time(folder / "layers.png", times, layers)
    means = {t: _mean(by_time[t]) for t in times}
    best, all_of_them = max(means, key=lambda t: means[t]), _mean(together)
    return Finding(
        claim="timesteps",
        title="For a diffusion model the first timestep alone does as well as any",
        verdict=judge(means[times[0]], max(means[best], all_of_them)),
        because=(
            f"Mean AUROC of {OURS} over the foreign sets: {means[times[0]]:.3f} at t = {times[0]}, "
            f"{means[best]:.3f} at the best t = {best}, {all_of_them:.3f} with all "
            f"{len(times)} timesteps side by side (holds within {NEAR}, in part within {FAR})."
        ),
        numbers={f"mean AUROC t={t}": value for t, value in means.items()}
        | {"mean AUROC side by side": all_of_them},
        tables=[_time_table(by_time, together, means), *_draw_tables(by_draws)],
        pictures=[
            Picture("timesteps.png", "AUROC at each timestep, one draw; `likelihood` is the loss."),
            *([Picture("draws.png", "AUROC with more and more noise draws.")] if draws else []),
            Picture("layers.png", "AUROC of every single layer's log norm at every timestep."),
        ],
        notes=[
            "Densities are fitted on half of the in-distribution samples and scored on the rest. "
            "Nothing is chosen by these numbers: they are measured on foreign data."
        ],
    )


def judge(first: float, best: float) -> Verdict:
    """Return the verdict of the criterion above."""
    if first < USEFUL:
        return "does not hold"
    if best - first <= NEAR:
        return "holds"
    return "holds in part" if best - first <= FAR else "does not hold"


def _aurocs(tables: Tables, own: str, seed: int) -> Aurocs:
    foreign = {name: table for name, table in tables.items() if name != own}
    return aurocs(*halves(tables[own]), foreign, seed, repeats=REPEATS)


def _over_draws(many: Sequence[Tables], own: str, seed: int) -> dict[str, list[Estimate]]:
    """Return set -> AUROC of the layer-wise Gaussian with 1, 2, ... draws."""
    found: dict[str, list[Estimate]] = {name: [] for name in many[0] if name != own}
    for k in range(1, len(many) + 1):
        means = {name: mean_of_draws([tables[name] for tables in many[:k]]) for name in many[0]}
        for name, detectors in _aurocs(means, own, seed).items():
            found[name].append(detectors[OURS])
    return found


def _layers(over_time: Mapping[int, Tables], own: str, name: str) -> Array:
    """Return the AUROC of each layer's log norm at each timestep, (J, T)."""
    return np.array(
        [
            [
                auroc(mine, theirs)
                for mine, theirs in zip(t[own].values.T, t[name].values.T, strict=True)
            ]
            for t in over_time.values()
        ]
    ).T


def _mean(found: Aurocs) -> float:
    return float(np.mean([detectors[OURS].value for detectors in found.values()]))


def _time_table(
    by_time: Mapping[int, Aurocs],
    together: Aurocs,
    means: Mapping[int, float],
) -> Table:
    names = list(together)
    rows = [
        [str(t), *(str(found[n][d]) for n in names for d in DETECTORS), f"{means[t]:.3f}"]
        for t, found in by_time.items()
    ]
    last = [str(together[n][d]) for n in names for d in DETECTORS]
    rows.append(["all, side by side", *last, f"{_mean(together):.3f}"])
    heads = [f"{n}: {d}" for n in names for d in DETECTORS]
    return Table("AUROC over time, one draw", ["t", *heads, f"mean, {OURS}"], rows)


def _draw_tables(by_draws: Mapping[int, dict[str, list[Estimate]]]) -> list[Table]:
    rows = [
        [str(t), name, *(f"{e.value:.3f}" for e in values)]
        for t, sets in by_draws.items()
        for name, values in sets.items()
    ]
    heads = ["t", "set", *(f"{k + 1}" for k in range(DRAWS))]
    return (
        [Table(f"AUROC of {OURS} with 1 to {DRAWS} draws, {FEWER} samples a set", heads, rows)]
        if rows
        else []
    )
