"""An evaluation as a table on screen, files and pictures."""

from pathlib import Path

from rich.console import Console

from fimetric.evaluation import ALPHA, Evaluation
from fimetric.files import whole_file
from fimetric.objectives import Denoising, Objective
from fimetric.report.pictures import likelihood_histograms, roc_curves, score_histograms
from fimetric.report.tables import markdown, show, write_csv


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
    with whole_file(folder / "table.md") as path:
        path.write_text(f"{title}\n\n{markdown(found.rows)}\n{_alarms(found)}")
    write_csv(found.rows, folder / "table.csv")
    ood = {name: losses for name, losses in found.losses.items() if name != own}
    kind = "denoising loss" if isinstance(objective, Denoising) else "likelihood"
    model = type(objective.module).__name__
    likelihood_histograms(folder / "likelihood.png", (own, found.losses[own]), ood, model, kind)
    for size, scores in found.scores.items():
        score_histograms(folder / f"scores-groups-of-{size}.png", scores, own)
        roc_curves(folder / f"roc-groups-of-{size}.png", scores, own)
    console.print(f"Tables and pictures: {folder}")


def _alarms(found: Evaluation) -> str:
    lines = [
        f"False alarms at alpha = {ALPHA} on held-out in-distribution groups:",
        "",
        "| group | detector | false alarms | groups | rate |",
        "|---|---|---|---|---|",
    ]
    for size, detectors in found.alarms.items():
        for detector, (count, total) in detectors.items():
            lines.append(f"| {size} | {detector} | {count} | {total} | {count / total:.3f} |")
    return "\n".join([*lines, ""])
