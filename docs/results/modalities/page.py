"""Write docs/results/modalities.md, its pictures and its table of all comparisons."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import fmean

import pyarrow as pa
import pyarrow.parquet as pq
from picture import draw
from trained import models_table

from fimetric.benchmark.comparing import LEVEL
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.results import Comparison
from fimetric.calibration import false_alarms
from fimetric.judging.judge import ALPHA
from fimetric.store.files import whole_file
from studies import DEFAULT, HERE, NO_RIVALS, PAPER, Panel, Study

TITLES = {
    "text": "Text of one length",
    "natural": "Text of natural lengths",
    "pretrained": "A language model that others trained",
    "audio": "Audio",
    "tables": "Tables",
    "images": "Autoregressive images and flow matching",
}


def write(studies: Sequence[Study]) -> None:
    """Write the page."""
    for study in studies:
        draw(study, HERE / f"{study.name}.png")
    every = [c for study in studies for c in (*study.found.comparisons, *study.found.leaks)]
    with whole_file(HERE / "comparisons.parquet") as place:
        pq.write_table(pa.Table.from_pylist([asdict(c) for c in every]), place)
    with whole_file(HERE.with_suffix(".md")) as place:
        head = HERE.with_suffix(".head.md").read_text(encoding="utf-8")
        place.write_text("\n".join([head, *_page(studies)]) + "\n", encoding="utf-8")


def _page(studies: Sequence[Study]) -> Iterator[str]:
    yield "## At a glance\n"
    yield from _glance(studies)
    yield "## Models\n"
    yield from models_table(studies)
    for study in studies:
        yield f"## {TITLES[study.name]}\n"
        yield (HERE / f"{study.name}.head.md").read_text(encoding="utf-8")
        yield f"![AUROC by set and method](modalities/{study.name}.png)\n"
        for size in study.grid.group_sizes:
            yield f"### {'Single samples' if size == 1 else f'Random groups of {size}'}\n"
            for panel in study.panels(size):
                yield from _table(study, panel)
        yield f"{', '.join(f'{name}: {METHODS[name].source}' for name in study.grid.methods)}.\n"
    yield "## What a leak would show\n"
    yield from _leaks(studies)


def _glance(studies: Sequence[Study]) -> Iterator[str]:
    """Yield the means over far pairs of single samples, and where the default is below a rival."""
    yield (
        "| | pairs | likelihood | typicality | paper's density | default | best rival, each pair's "
        "own | default above / below it |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for study in studies:
        ours = [c for m, _ in study.owns for c in study.of(m, 1)]
        for distance in ("far", "near"):
            mine = [c for c in ours if (c.method, c.distance) == (DEFAULT, distance)]
            if not mine:
                continue
            cells = [TITLES[study.name] + f", {distance}", str(len(mine))]
            for methods in (("likelihood",), ("typicality",), PAPER, (DEFAULT,)):
                some = [c.auroc for c in ours if c.method in methods and c.distance == distance]
                cells.append(f"{fmean(some):.3f}")
            cells.append(f"{fmean(study.best_rival(c).auroc for c in mine):.3f}")
            leads = [study.lead(c) for c in mine]
            cells.append(
                f"{sum(lead.low > 0 for lead in leads)} / {sum(lead.high < 0 for lead in leads)}"
            )
            yield "| " + " | ".join(cells) + " |"
    yield (
        "\nMeans of the AUROC over pairs of sets, single samples. Above and below: pairs where the "
        "95% interval of the paired difference to the best rival, which is another one for each "
        "pair and was chosen by looking, leaves 0 out. A rival is every method of the tables but "
        f"{', '.join(sorted(NO_RIVALS))}.\n"
    )


def _table(study: Study, panel: Panel) -> Iterator[str]:
    methods = study.methods(panel.comparisons)
    yield f"**{panel.title}**\n"
    yield f"| foreign set | {' | '.join(methods)} |"
    yield "|---|" + "---:|" * len(methods)
    for distance in ("far", "near"):
        rows = [row for row in map(panel.row, panel.sets) if row[DEFAULT].distance == distance]
        for row in rows:
            best = max(c.auroc for m, c in row.items() if m not in NO_RIVALS or m == DEFAULT)
            cells = [_cell(row.get(method), best) for method in methods]
            near = "" if distance == "far" else " (near)"
            yield f"| {panel.label(row[DEFAULT])}{near} | {' | '.join(cells)} |"
        if len(rows) > 1:
            means = [f"{fmean(row[method].auroc for row in rows):.3f}" for method in methods]
            yield f"| *mean, {distance}* | {' | '.join(means)} |"
    yield ""


def _cell(c: Comparison | None, best: float) -> str:
    if c is None:
        return "–"
    text = f"{c.auroc:.3f} [{c.low:.3f}, {c.high:.3f}]"
    return f"**{text}**" if c.auroc == best else text


def _leaks(studies: Sequence[Study]) -> Iterator[str]:
    yield (
        "Three checks, by every model. The own test part against the own calibration part: no "
        "method can tell them, so about 95% of the intervals hold .5. The own test part under "
        "another name: exactly .5. False alarms of the default at level .05 on the own test "
        "part, beside the numbers between which exchangeable data give them, with probability "
        ".95; – where fewer than 19 calibration rows allow no such level.\n"
    )
    yield (
        "| model | test against calibration, default | intervals that hold .5, all methods | "
        "itself, all methods | calibration rows | false alarms | expected |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for study in studies:
        for model, _ in study.owns:
            leaks = [c for c in study.found.leaks if c.model == model and c.group_size == 1]
            apart = [c for c in leaks if c.other == "own calibration"]
            if not apart:
                continue
            itself = [c.auroc for c in leaks if c.other == "own test again"]
            default = next(c for c in apart if c.method == DEFAULT)
            held = sum(c.low <= 0.5 <= c.high for c in apart)
            alarms = study.found.scored[model, DEFAULT, 1, "random"].alarms
            n, known = default.own_groups, default.other_groups
            low, high = false_alarms(known, n, ALPHA, LEVEL)
            told = f"{alarms} of {n} | {low} to {high}" if alarms >= 0 else "– | –"
            yield (
                f"| {model} | {default.auroc:.3f} [{default.low:.3f}, {default.high:.3f}] | "
                f"{held} of {len(apart)} | {min(itself):.3f} to {max(itself):.3f} | "
                f"{known} | {told} |"
            )
    yield ""
