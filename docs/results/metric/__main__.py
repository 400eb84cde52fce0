"""Ask what more of the Fisher metric gives the default; write docs/results/metric.md.

    python docs/results/metric

Needs FIMETRIC_DATA; half an hour on one core. No foreign data is read. Tables are kept in
runs/metric, so a stopped run goes on when it is called again.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fimetric.benchmark.cases import Case, Sets
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.stream import run
from fimetric.features.groups import disjoint, means
from fimetric.features.table import Features
from fimetric.fingerprint.model import model_fingerprint
from fimetric.fisher.metrics import Kronecker
from fimetric.fisher.metrics.base import MetricExtractor
from fimetric.metrics import auroc
from fimetric.models import load
from fimetric.objectives import Objective, standard_objective
from fimetric.progress import progress
from fimetric.store.files import safe_name, whole_file

sys.path.insert(0, str(Path(__file__).parents[1] / "blocks"))
from blocks import standardised
from candidates import ALL, CHOSEN, e_value
from outliers import outliers
from page import CLOSE

from judging import PARTITIONS, SIZES
from models import ROOT, models, objective_of, own_parts

HERE = Path(__file__).parent
OTHERS = ("fashion_mnist-glow", "fashion_mnist-pixelcnn")
REFERENCES = 500

ONE, TWO, EKFAC, BOTH, BESIDE, SEEDS = CANDIDATES = (
    "default",
    "two draws",
    "EKFAC",
    "both",
    "side by side",
    "three seeds",
)
Tables = dict[str, Features]  # set -> its table


def main() -> None:
    torch.set_num_threads(1)
    chosen = [case for case in models() if case.trained.kind == "vae" or case.name in OTHERS]
    found: dict[Case, dict[str, dict[int, float]]] = {}
    with progress("models", len(chosen)) as advance:
        for case in chosen:
            found[case] = {name: _areas(members) for name, members in _candidates(case)}
            advance(1)
    with whole_file(HERE.with_suffix(".md")) as place:
        head = HERE.with_suffix(".head.md").read_text(encoding="utf-8")
        place.write_text("\n".join([head, *_page(found)]) + "\n", encoding="utf-8")


def _candidates(case: Case) -> Iterator[tuple[str, list[Tables]]]:
    """Yield name of a candidate -> the tables of own parts and of outliers, of each member."""
    objective = objective_of(case)
    fit, held = own_parts(case)
    sets = {"fit": fit, "held": held} | outliers(case, objective, held)
    folder = ROOT / "runs" / "metric" / f"{case.name}-{model_fingerprint(objective.module)[:8]}"

    def measured(name: str, extractor: Extractor) -> Tables:
        place = folder / safe_name(name)
        return {
            key: run(extractor, samples, 50, place / safe_name(key), progress=False)
            for key, samples in sets.items()
        }

    one = measured(ONE, Extractor(objective, parts="free"))
    yield ONE, [one]
    white = _with_parts(measured(EKFAC, _whitened(case, objective)), one)
    yield EKFAC, [white]
    yield BESIDE, [{key: _beside(one[key], white[key]) for key in sets}]
    if case.trained.kind == "vae":
        twice = standard_objective(load(ROOT / "checkpoints" / case.name), None, 2, case.grid.seed)
        two = measured(TWO, Extractor(twice, parts="free"))
        yield TWO, [two]
        yield BOTH, [_with_parts(measured(BOTH, _whitened(case, twice)), two)]
    others = [ROOT / "checkpoints" / f"{case.name}-{seed}" for seed in (1, 2)]
    if all(place.is_dir() for place in others):
        members = [standard_objective(load(place), None, 1, case.grid.seed) for place in others]
        tables = [
            measured(f"{SEEDS} {k}", Extractor(member, parts="free"))
            for k, member in enumerate(members)
        ]
        yield SEEDS, [one, *tables]


def _whitened(case: Case, objective: Objective) -> MetricExtractor:
    references = Sets(case).train.select(range(REFERENCES))
    return MetricExtractor(Kronecker().fit(objective, references, progress=False))


def _with_parts(white: Tables, plain: Tables) -> Tables:
    return {
        key: replace(t, parts=plain[key].parts, part_names=plain[key].part_names)
        for key, t in white.items()
    }


def _beside(one: Features, other: Features) -> Features:
    values = np.concatenate([one.values, other.values], 1)
    return one.with_columns(values, [*one.names, *(f"{EKFAC}/{name}" for name in other.names)])


def _areas(members: list[Tables]) -> dict[int, float]:
    """Return group size -> the mean area over recipes, and over ways to form groups."""
    found = {}
    for size in SIZES:
        judges = [standardised(ALL[CHOSEN], tables["fit"], size) for tables in members]

        def told_of(name: str, size: int, way: int, judges: Any = judges) -> Any:
            tables = [member[name] for member in members]
            groups = [means(table, disjoint(len(table), size, way)) for table in tables]
            u, p = np.stack([j(each) for j, each in zip(judges, groups, strict=True)], 1)
            return u[0] if len(u) == 1 else e_value(u, p)

        areas = []
        for way in range(PARTITIONS if size > 1 else 1):
            told = {name: told_of(name, size, way) for name in members[0] if name != "fit"}
            areas += [auroc(told["held"], told[name]) for name in told if name != "held"]
        found[size] = float(np.mean(areas))
    return found


def _page(found: dict[Case, dict[str, dict[int, float]]]) -> Iterator[str]:
    yield "\n## Result\n"
    heads = [f"{name}, B = {size}" for name in CANDIDATES for size in SIZES]
    yield f"| model | {' | '.join(heads)} |"
    yield "|---" + "|---:" * len(heads) + "|"
    for case, of_case in found.items():
        cells = [
            f"{of_case[name][size]:.3f}" if name in of_case else "–"
            for name in CANDIDATES
            for size in SIZES
        ]
        yield f"| {case.name} | {' | '.join(cells)} |"
    yield "\nGain over the default, mean over group sizes and the models of a family:\n"
    families: dict[str, list[Any]] = {}
    for case, of_case in found.items():
        families.setdefault(case.trained.kind, []).append(of_case)
    yield f"| candidate | {' | '.join(families)} | mean |"
    yield "|---" + "|---:" * (len(families) + 1) + "|"
    for name in CANDIDATES[1:]:
        gains = {kind: _gain(each, name) for kind, each in families.items()}
        mean = float(np.mean(list(gains.values())))
        others = float(np.mean([gain for kind, gain in gains.items() if kind != "vae"]))
        better = ", better" if min(mean, others) >= CLOSE else ""
        cells = " | ".join(f"{gain:+.3f}" for gain in gains.values())
        yield f"| {name} | {cells} | {mean:+.3f}{better} |"
    yield (
        "\nA model without noise has no draws, most have no further seeds, and what there is not "
        "counts as no gain.\n"
    )


def _gain(models: list[Any], name: str) -> float:
    return float(
        np.mean([m.get(name, m[ONE])[size] - m[ONE][size] for m in models for size in SIZES])
    )


if __name__ == "__main__":
    main()
