"""A picture of the choice: every family a line, every preset a mark on it."""

from collections.abc import Mapping
from pathlib import Path

from candidates import FORMER, PAPER, SHIPPED, Candidate
from matplotlib.figure import Figure

from fimetric.report.pictures import save

MARKS = {  # mark, one of Okabe and Ito's colours
    "the paper's density": ("^", "#E69F00"),
    "neighbours of norms and losses": ("s", "#56B4E9"),
    "cheap": ("v", "#009E73"),
    "default": ("D", "#D55E00"),
    "best": ("o", "#0072B2"),
}


def draw(areas: Mapping[str, Mapping[Candidate, float]], path: Path) -> None:
    """Draw the mean area of each preset as it is, and of the densities of the norms alone."""
    shown = {"the paper's density": PAPER, "neighbours of norms and losses": FORMER, **SHIPPED}
    figure = Figure(figsize=(7.2, 1.6 + 0.32 * len(areas)), layout="constrained")
    axes = figure.subplots()
    for name, (mark, colour) in MARKS.items():
        values = [of_family[shown[name]] for of_family in areas.values()]
        face = colour if name != "best" else "none"
        axes.plot(
            values,
            range(len(areas)),
            mark,
            color=colour,
            markerfacecolor=face,
            label=name,
            alpha=0.9,
        )
    axes.set_yticks(range(len(areas)), list(areas))
    axes.set_ylim(len(areas) - 0.5, -0.5)
    axes.set_xlabel("mean AUROC, own samples against outliers made of them")
    axes.grid(axis="both", linewidth=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    save(figure, path)
