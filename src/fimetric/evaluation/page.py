"""An evaluation as a table on screen, files and pictures."""

import math
from pathlib import Path

from rich.console import Console

from fimetric.evaluation.run import Evaluation
from fimetric.evaluation.verdicts import verdicts
from fimetric.judging.judge import ALPHA
from fimetric.objectives import Objective
from fimetric.report.pictures import likelihood_histograms, roc_curves, score_histograms
from fimetric.report.tables import markdown, show, write_csv
from fimetric.store.files import whole_file


def write_evaluation(
    found: Evaluation, objective: Objective, folder: Path, console: Console
) -> None:
    """Print the table; write it as Markdown and CSV, and draw histograms and ROC curves.

    Arguments:
        found: the evaluation.
        objective: what it was made with.
        folder: where the files go.
        console: where the table is printed.
    """
    own = found.in_distribution
    title = f"{own} (in-distribution) under {objective.describe()}"
    show(found.rows, title, console)
    said = verdicts(found.rows)
    for line in said:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    text = [title, markdown(found.rows), *(f"- {line}" for line in said), "", _alarms(found)]
    with whole_file(folder / "table.md") as path:
        path.write_text("\n".join([text[0], "", *text[1:]]), encoding="utf-8")
    write_csv(found.rows, folder / "table.csv")
    kind = objective.kind
    unit = 1.0 if kind.startswith("likelihood") else math.log(2)  # the rest are no code lengths
    losses = {name: loss * unit for name, loss in found.losses.items()}
    mine = losses.pop(own)
    model = type(objective.module).__name__
    likelihood_histograms(folder / "likelihood.png", (own, mine), losses, model, kind)
    for size, scores in found.scores.items():
        score_histograms(folder / f"scores-groups-of-{size}.png", scores, own, size)
        roc_curves(folder / f"roc-groups-of-{size}.png", scores, own, size)
    console.print(f"Tables and pictures: {folder}", soft_wrap=True)


def _alarms(found: Evaluation) -> str:
    lines = [
        f"False alarms at alpha = {ALPHA} on held-out in-distribution groups:",
        "",
        "| group | detector | false alarms | groups | rate |",
        "|---|---|---|---|---|",
    ]
    for size, scores in found.scores.items():
        for detector, sets in scores.items():
            total = len(sets[found.in_distribution])
            if detector in found.alarms[size]:
                count, total = found.alarms[size][detector]
                rate = f"{count} | {total} | {count / total:.3f}"
            else:
                rate = f"- | {total} | too few calibration groups for {ALPHA}"
            lines.append(f"| {size} | {detector} | {rate} |")
    return "\n".join([*lines, ""])
