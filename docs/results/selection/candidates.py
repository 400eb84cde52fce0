"""Score every candidate of docs/results/selection.head.md and write docs/results/selection.md.

Needs FIMETRIC_DATA; about half an hour on 2 cores. No foreign data is read. Tables are kept in
runs/selection, so a stopped run goes on when it is called again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import betabinom

from fimetric.benchmark.variants import OUTLIERS, make
from fimetric.calibration import Calibration
from fimetric.detectors import (
    KDE,
    Density,
    FullGaussian,
    IsolationForest,
    LayerwiseGaussian,
    NearestNeighbours,
    OneClassSVM,
    Typicality,
)
from fimetric.extraction import Extractor, run
from fimetric.features import Features
from fimetric.files import whole_file
from fimetric.fisher.metrics import Diagonal, Kronecker
from fimetric.groups import disjoint, means
from fimetric.inputs import Named
from fimetric.metrics import auroc
from fimetric.models import Diffusion, load
from fimetric.objectives import standard_objective

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RUNS = ROOT / "runs" / "selection"
MODELS = (
    "fashion_mnist-vae",
    "mnist-vae",
    "gtsrb-vae",
    "fashion_mnist-glow",
    "cifar10-glow",
    "fashion_mnist-diffusion",
    "cifar10-diffusion",
)
TIMES = (0, 10, 50, 150, 300, 600)
HELD_OUT, HALF, ALPHA = 2000, 500, 0.05
Tables = dict[str, Features]


@dataclass(frozen=True)
class Candidate:
    """Columns and the density on them; ``times`` are the timesteps of a diffusion model."""

    name: str
    density: Callable[[], Density]
    times: tuple[int, ...] = (0,)
    columns: Callable[[Features], Features] = lambda table: table

    @property
    def passes(self) -> int:
        """Passes over a diffusion model; other models need one."""
        return len(self.times)


def modules(table: Features) -> Features:
    """Add up the squared norms of the tensors of one module."""
    names = [name.rpartition(".")[0] for name in table.names]
    found = list(dict.fromkeys(names))
    chosen = [np.array([n == module for n in names]) for module in found]
    values = [np.logaddexp.reduce(table.values[:, which], axis=1) for which in chosen]
    return replace(
        table,
        values=np.stack(values, 1),
        names=tuple(found),
        bounds=np.array([table.bounds[which].sum() for which in chosen]),
        numels=np.array([table.numels[which].sum() for which in chosen]),
    )


def losses(table: Features) -> Features:
    """Take the losses of the views in place of the norms."""
    views = len(table.views)
    return replace(
        table,
        values=table.group_losses,
        names=table.views,
        bounds=np.zeros(views),
        numels=np.ones(views, dtype=np.int64),
    )


def beside(table: Features) -> Features:
    """Put the losses of the views beside the norms."""
    other = losses(table)
    return replace(
        table,
        values=np.concatenate([table.values, other.values], axis=1),
        names=(*table.names, *(f"loss {name}" for name in other.names)),
        bounds=np.concatenate([table.bounds, other.bounds]),
        numels=np.concatenate([table.numels, other.numels]),
    )


def neighbours(k: int) -> Callable[[], Density]:
    return lambda: NearestNeighbours(k)


THREE, SIX = (0, 50, 300), TIMES
CANDIDATES = (
    Candidate("independent Gaussians (the paper's)", LayerwiseGaussian),
    Candidate("independent Gaussians, 3 timesteps", LayerwiseGaussian, THREE),
    Candidate("shrunk full covariance", FullGaussian),
    Candidate("shrunk full covariance, 3 timesteps", FullGaussian, THREE),
    Candidate("shrunk full covariance, 3 timesteps, losses beside", FullGaussian, THREE, beside),
    Candidate("independent kernel densities, 3 timesteps", KDE, THREE),
    Candidate("one-class SVM, 3 timesteps", OneClassSVM, THREE),
    Candidate("isolation forest, 3 timesteps", IsolationForest, THREE),
    Candidate("neighbours of norms and losses, t = 0", NearestNeighbours),
    Candidate("neighbours of norms and losses, t = 50", NearestNeighbours, (50,)),
    Candidate("neighbours of norms and losses, t = 300", NearestNeighbours, (300,)),
    Candidate("neighbours of norms and losses, 3 timesteps", NearestNeighbours, THREE),
    Candidate("neighbours of norms and losses, 6 timesteps", NearestNeighbours, SIX),
    Candidate("the nearest alone, 3 timesteps", neighbours(1), THREE),
    Candidate("ten neighbours, 3 timesteps", neighbours(10), THREE),
    Candidate("neighbours of modules and losses, 3 timesteps", NearestNeighbours, THREE, modules),
    Candidate("neighbours of losses alone, 6 timesteps", NearestNeighbours, SIX, losses),
    Candidate("shrunk full covariance of losses alone, 6 timesteps", FullGaussian, SIX, losses),
    Candidate("typicality of the mean loss, 6 timesteps", Typicality, SIX),
)
CHOSEN = "neighbours of norms and losses, 3 timesteps"


def main() -> None:
    torch.set_num_threads(2)
    found = {name: measured(name) for name in MODELS}
    metric = measured_metric("fashion_mnist-vae")
    with whole_file(HERE / "selection.md") as place:
        head = (HERE / "selection.head.md").read_text(encoding="utf-8")
        place.write_text("\n".join([head, *page(found, metric)]) + "\n", encoding="utf-8")


def sets_of(name: str) -> dict[str, object]:
    """Return the parts for density and calibration, and the outliers made of the latter."""
    model = load(ROOT / "checkpoints" / name)
    data = name.rpartition("-")[0]
    pool = Named("test", HELD_OUT).open(data, tuple(model.shape))
    order = np.random.default_rng(0).permutation(HELD_OUT)
    fit, held = (pool.select(part.tolist()) for part in (order[:HALF], order[HALF : 2 * HALF]))
    return {"fit": fit, "cal": held} | {recipe: make(recipe, held) for recipe in OUTLIERS}


def tables_of(name: str, size: int) -> Tables:
    """Return the norms of all sets; of joint gradients of consecutive samples if size > 1."""
    model = load(ROOT / "checkpoints" / name)
    times = TIMES if isinstance(model, Diffusion) else (0,)
    extractor = Extractor(standard_objective(model, times), size)
    return {
        key: run(extractor, samples, 100, RUNS / name / f"norms-{size}-{key.replace(' ', '_')}")
        for key, samples in sets_of(name).items()
    }


def measured(name: str) -> dict[tuple[str, int], tuple[float, int]]:
    """Return candidate and group size -> mean AUROC over outliers, and false alarms."""
    tables = tables_of(name, 1)
    found = {}
    for candidate in CANDIDATES:
        for size in (1, 5):
            grouped = {k: means(t, disjoint(len(t), size, None)) for k, t in tables.items()}
            found[candidate.name, size] = judged(candidate, grouped)
    if name.endswith(("vae", "glow")) and name.startswith("fashion"):
        joint = tables_of(name, 5)
        for candidate in CANDIDATES:
            if candidate.name in (CHOSEN, CANDIDATES[0].name):
                found[f"{candidate.name}, joint gradient", 5] = judged(candidate, joint)
    return found


def judged(candidate: Candidate, tables: Tables) -> tuple[float, int]:
    """Return mean AUROC over outliers, and false alarms in one half of the calibration rows."""
    part = {k: candidate.columns(at(t, candidate.times)) for k, t in tables.items()}
    density = candidate.density().fit(part["fit"])
    scores = {k: density.score(t) for k, t in part.items()}
    own = scores["cal"]
    half = len(own) // 2
    alarms = int(Calibration(own[:half]).reject(own[half:], ALPHA).sum())
    return float(np.mean([auroc(own, scores[recipe]) for recipe in OUTLIERS])), alarms


def at(table: Features, times: tuple[int, ...]) -> Features:
    """Keep some timesteps of a diffusion model's table, and all of another's."""
    if not any(view.startswith("t=") for view in table.views):
        return table
    kept = [view for view in table.views if int(view.split("/")[0][2:]) in times]
    names = [n for n in table.names if int(n.split("/")[0][2:]) in times]
    places = [table.views.index(view) for view in kept]
    part = table.columns(names)
    return replace(part, losses=table.losses[:, places], views=tuple(kept))


def measured_metric(name: str) -> dict[str, float]:
    """Return neighbours on the norms in a Fisher metric, and on plain norms with as many rows."""
    model = load(ROOT / "checkpoints" / name)
    sets = sets_of(name)
    references = sets["fit"].select(range(HALF // 2))
    sets["fit"] = sets["fit"].select(range(HALF // 2, HALF))
    found = {}
    for words, metric in {"plain": None, "diagonal": Diagonal(), "EKFAC": Kronecker()}.items():
        if metric is None:
            tables = dict(tables_of(name, 1))
            tables["fit"] = tables["fit"].select(slice(HALF // 2, HALF))
        else:
            metric.fit(standard_objective(model), references)
            tables = {
                key: metric.features(x, 100, RUNS / name / f"{words}-1-{key.replace(' ', '_')}")
                for key, x in sets.items()
            }
        found[words] = judged(Candidate(words, NearestNeighbours), tables)[0]
    return found


def page(found: dict[str, dict[tuple[str, int], tuple[float, int]]], metric: dict[str, float]):
    """Yield the lines below the criterion."""
    families = {m: [n for n in found if n.endswith(m)] for m in ("vae", "glow", "diffusion")}
    rows = []
    for candidate in CANDIDATES:
        by_family = {
            family: np.mean([found[n][candidate.name, s][0] for n in names for s in (1, 5)])
            for family, names in families.items()
        }
        single = np.mean(
            [
                np.mean([found[n][candidate.name, 1][0] for n in names])
                for names in families.values()
            ]
        )
        alarms = [found[n][candidate.name, 1][1] for n in found]
        rows.append((np.mean(list(by_family.values())), candidate, single, by_family, alarms))
    rows.sort(key=lambda row: -row[0])
    yield "\n## Result\n"
    yield from _words(rows, metric, found)
    yield "| candidate | mean | B = 1 | VAE | Glow | diffusion | false alarms of 250 at .05 |"
    yield "|---|---|---|---|---|---|---|"
    for mean, candidate, single, by_family, alarms in rows:
        bold = "**" if candidate.name == CHOSEN else ""
        values = " | ".join(f"{v:.3f}" for v in by_family.values())
        yield (
            f"| {bold}{candidate.name}{bold} | {bold}{mean:.3f}{bold} | {single:.3f} | {values} | "
            f"{min(alarms)} to {max(alarms)} |"
        )
    yield (
        "\nMean AUROC of 500 calibration rows against 500 outliers, six recipes, group sizes 1 and "
        f"5; models: {', '.join(found)}. A VAE and a flow have one view, so timesteps concern "
        "diffusion models alone.\n"
    )


def _words(rows, metric, found):
    best = rows[0]
    chosen = next(row for row in rows if row[1].name == CHOSEN)
    law = betabinom(250, 12, 239)  # of 250 calibration scores the 12 largest are above the level
    low, high = int(law.ppf(0.0005)), int(law.ppf(0.9995))
    wrong = [row[1].name for row in rows if min(row[4]) < low or max(row[4]) > high]
    sound = "All candidates are sound" if not wrong else f"Not sound: {', '.join(wrong)}"
    yield (
        f"{sound}: false alarms within {low} to {high} of 250. The best mean is {best[0]:.3f} "
        f"({best[1].name}); chosen is **{CHOSEN}** with {chosen[0]:.3f}.\n"
    )
    for name in ("fashion_mnist-vae", "fashion_mnist-glow"):
        both = found[name]
        yield (
            f"Groups of 5 on {name}: mean of log norms {both[CHOSEN, 5][0]:.3f}, joint gradient "
            f"{both[f'{CHOSEN}, joint gradient', 5][0]:.3f}; the paper's density "
            f"{both[CANDIDATES[0].name, 5][0]:.3f} and "
            f"{both[f'{CANDIDATES[0].name}, joint gradient', 5][0]:.3f}.\n"
        )
    values = ", ".join(f"{words} {value:.3f}" for words, value in metric.items())
    yield (
        f"Where this falls short of the criterion: {len(found)} of the twelve models were tried; "
        "one draw alone, and no distance from the mean gradient; held-out log density was not "
        "needed to decide. The images of gtsrb are split at random here, so that a row often has a "
        "frame of its own sign among the fitted ones, which favours neighbours on that model (the "
        "benchmark keeps signs apart).\n"
    )
    yield (
        "In a Fisher metric, neighbours of the norms of fashion_mnist-vae, single samples, 250 "
        f"rows for the metric and 250 for the density: {values}. The metric tells more than the "
        "plain norm here. It is not the default: it has been tried on one model only, a "
        "detector cannot "
        "keep it in its folder yet, and its factors do not fit in memory for a large vocabulary. "
        "`fimetric.fisher` has it.\n"
    )


if __name__ == "__main__":
    main()
