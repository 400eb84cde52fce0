"""A picture a modality: every foreign set a line, every method a mark on it."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimetric.report.pictures import save
from studies import DEFAULT, LOSSES, PAPER, Panel, Study

MARKS = (  # methods, mark, one of Okabe and Ito's colours, words
    (("likelihood",), "o", "#0072B2", "likelihood (the loss)"),
    (("typicality",), "s", "#56B4E9", "typicality"),
    ((LOSSES,), "v", "#009E73", "the default without norms"),
    (PAPER, "^", "#E69F00", "layer-wise norms, the paper's density"),
    ((DEFAULT,), "D", "#D55E00", "fimetric, the default"),
)
RIVAL = ("x", "#000000", "best rival of the pair")


def draw(study: Study, path: Path) -> None:
    """Draw the AUROC of single samples, a panel beside the other."""
    panels = study.panels(1)
    columns = min(2, len(panels))
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [1.1 + 0.26 * max(len(panel.sets) for panel in line) for line in lines]
    size = (5.6 * columns + 1.2, sum(heights) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights).ravel()
    for each, panel in zip(axes, panels, strict=False):
        _panel(each, study, panel)
    for each in axes[len(panels) :]:
        each.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    save(figure, path)


def _panel(axes: Axes, study: Study, panel: Panel) -> None:
    places = {name: i for i, name in enumerate(panel.sets)}
    for methods, mark, colour, label in MARKS:
        some = [c for c in panel.comparisons if c.method in methods]
        axes.plot(
            [c.auroc for c in some],
            [places[panel.label(c)] for c in some],
            mark,
            color=colour,
            label=label,
            markersize=7 if DEFAULT in methods else 6,
            alpha=0.9,
        )
    ours = [c for c in panel.comparisons if c.method == DEFAULT]
    mark, colour, label = RIVAL
    axes.plot(
        [study.best_rival(c).auroc for c in ours],
        [places[panel.label(c)] for c in ours],
        mark,
        color=colour,
        label=label,
    )
    axes.set_yticks(range(len(places)), list(places), fontsize=8)
    axes.set_ylim(len(places) - 0.4, -0.6)
    far = len({panel.label(c) for c in ours if c.distance == "far"})
    if far < len(places):
        axes.axhline(far - 0.5, color="#999999", linewidth=0.8)
        axes.text(0.005, far - 0.45, "near sets below", fontsize=7, color="#666666", va="top")
    axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    axes.set(xlim=(-0.02, 1.02), xlabel="AUROC, single samples", title=panel.title)
    axes.grid(axis="y", linewidth=0.3)
