"""What a benchmark leaves: averages, a picture, a page, all comparisons and all scores."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fimetric.benchmark.cases import Case, Sets
from fimetric.benchmark.comparing import OWN, Found
from fimetric.benchmark.config import Grid, pictured
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.own import LEAKS, called
from fimetric.benchmark.page import averages, draw_matrix, write_markdown, write_page
from fimetric.benchmark.page.headline import DEFAULT, NAMED, headline
from fimetric.benchmark.page.leaks import alarms_of, in_short, leaks
from fimetric.benchmark.page.seeds import by_seed
from fimetric.benchmark.results import Comparison, Ranked
from fimetric.benchmark.scoring import Scored
from fimetric.benchmark.tried import left_out
from fimetric.store.files import whole_file

SHOWN = 8  # of the most anomalous samples of a set, and of the least


def write(found: Found, grid: Grid, folder: Path) -> Path:
    """Write a page in Markdown and one in HTML, their picture, all comparisons and all scores.

    Returns:
        the path of the former.
    """
    tables, picture = folder / "benchmark.md", folder / "matrix.png"
    every = folder / "comparisons.parquet"
    write_scores(found, folder / "scores.parquet")
    write_comparisons([*found.comparisons, *found.leaks], every)
    # of the first seed alone: further seeds are not tried with every method
    firsts = {case.name for case in found.models if case.first}
    means = averages([c for c in found.comparisons if c.model in firsts])
    random = [c for c in found.comparisons if c.arrangement == "random"]
    tried = tuple(method for method in grid.methods if any(c.method == method for c in random))
    figure = tuple(method for method in grid.figure if method in tried) or pictured(tried)
    draw_matrix(picture, random, figure)
    alarms = alarms_of(found, _calibrated(found))
    notes = notes_of(found, grid) + in_short(alarms) + _leaks(found)
    opening = [
        f"![AUROC by pair of sets]({picture.name})\n",
        f"All {len(found.comparisons):,} comparisons, by model, pair of sets, method and groups, "
        f"with 95% intervals: [{every.name}]({every.name}).\n",
        *headline(found, means),
        *leaks(alarms),
        *by_seed(found.comparisons, (*NAMED, DEFAULT)),
    ]
    write_markdown(means, notes, tables, opening)
    captions = {f"AUROC of {' and '.join(figure)}, single samples": picture}
    ranked = ranked_samples(found)
    write_page(
        found.comparisons,
        means,
        found.curves(),
        ranked,
        notes,
        captions,
        folder / "benchmark.html",
    )
    return tables


def write_comparisons(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write one row for each comparison, with the fields of ``Comparison``."""
    with whole_file(path) as place:
        pq.write_table(pa.Table.from_pylist([asdict(c) for c in comparisons]), place)


def write_scores(found: Found, path: Path) -> None:
    """Write one row for each score: model, sets, method, group, and the score."""
    cases = {case.name: case for case in found.models}
    columns: dict[str, list[object]] = {}
    arrays = []
    for (model, method, size, arrangement), scored in sorted(found.scored.items()):
        case = cases[model]
        for name, scores in scored.scores.items():
            arrays.append(scores)
            row = {
                "model": model,
                "family": case.trained.kind,
                "seed": case.seed,
                "own": case.own.name,
                "set": name,
                "distance": case.sets.get(name, OWN),
                "method": method,
                "group_size": size,
                "arrangement": arrangement,
            }
            for key, value in row.items():
                columns.setdefault(key, []).extend([value] * len(scores))
    table = pa.table(columns)
    groups = np.concatenate([np.arange(len(scores)) for scores in arrays])
    table = table.append_column("group", pa.array(groups))
    table = table.append_column("score", pa.array(np.concatenate(arrays)))
    with whole_file(path) as place:
        pq.write_table(table, place, compression="zstd")


def ranked_samples(found: Found) -> list[Ranked]:
    """Return the most and the least anomalous samples of the own and the far sets, by default."""
    return [
        _ranked(case, sets, name, found.scored[key])
        for case in found.models
        if case.first and (key := (case.name, DEFAULT, 1, "random")) in found.scored
        for sets in [Sets(case)]
        if sets.parts["test"].pictures
        for name in ["test", *map(called, case.own.far)]
    ]


def _ranked(case: Case, sets: Sets, name: str, scored: Scored) -> Ranked:
    samples = sets.parts["test"] if name == "test" else sets.foreign(name)
    scores, rows = scored.scores[name], scored.rows[name][:, 0]
    order = np.argsort(-scores, kind="stable")
    chosen = [*order[:SHOWN], *order[-SHOWN:]] if len(order) > 2 * SHOWN else order
    places = [int(rows[i]) for i in chosen]
    images = [samples.values[i].numpy() for i in places]
    return Ranked(
        model=case.name,
        set=case.own.name if name == "test" else name,
        method=DEFAULT,
        ids=tuple(samples.ids[i] for i in places),
        images=tuple(x[0] if len(x) == 1 else x.transpose(1, 2, 0) for x in images),
        scores=tuple(float(scores[i]) for i in chosen),
    )


def notes_of(found: Found, grid: Grid) -> list[str]:
    """Return what a reader has to know of the numbers."""
    cases = {case.name for case in found.models}
    firsts = sum(case.first for case in found.models)
    used = {method for _, method, _, _ in found.scored}
    sources = sorted(f"{name} ({METHODS[name].source})" for name in used)
    notes = [
        f"{len(cases)} models, {firsts} of the first seed; those of further seeds are tried with "
        f"{', '.join(m for m in grid.methods if not METHODS[m].first_only)} alone, and on no looks "
        f"of own images. Held out: {grid.held_out} samples of each own set, permuted with "
        f"seed {grid.seed}: a quarter for the density, a quarter for the calibration, and of the "
        f"rest {grid.samples} for the test; of a set with a reference beside it half of the "
        f"reference each, and at most {grid.samples} of the set itself. At most {grid.samples} "
        f"samples of each foreign set; costly methods see {grid.costly_samples} of each set, and "
        "no looks of own images.",
        "Intervals hold 95%: percentiles of 1,000 resamples of single samples; of 200 for groups, "
        "which are formed anew from resampled samples; for joint gradients of 1,000 resamples of "
        "the groups. From .995 on they are widened by Hanley and McNeil's. They cover the choice "
        "of test samples and not the training of the model, which the seeds show.",
        "Of groups above one sample a density is fitted on random groups that may overlap, as "
        "many as there are samples, and for joint gradients on disjoint groups; all "
        "others are disjoint.",
        f"Methods: {', '.join(sources)}.",
    ]
    if alike := {case.own.name: None for case in found.models if case.own.alike}:
        notes.append(
            f"{', '.join(alike)}: samples that are nearly alike stay in one part, but intervals "
            "count each as one of its own, and are too narrow there."
        )
    return notes + left_out(found.models)


def _calibrated(found: Found) -> dict[str, int]:
    """Return model -> own samples that it is calibrated on: as many for all models of a set."""
    sets = {case.own.name: Sets(case) for case in found.models}
    counts = {name: len(each.parts["calibration"]) for name, each in sets.items()}
    return {case.name: counts[case.own.name] for case in found.models}


def _leaks(found: Found) -> list[str]:
    return [
        f"{name.capitalize()} against own test, single samples: {held} of {len(areas)} intervals "
        f"hold .5, by all models and methods; AUROC from {min(areas):.3f} to {max(areas):.3f}."
        for name in LEAKS
        for theirs in [[c for c in found.leaks if c.other == name and c.group_size == 1]]
        if theirs
        for areas in [[c.auroc for c in theirs]]
        for held in [sum(c.low <= 0.5 <= c.high for c in theirs)]
    ]
