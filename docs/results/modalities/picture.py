"""A picture a modality: every foreign set a line, every method a mark on it."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimetric.report.pictures import save
from studies import DEFAULT, LOSSES, PAPER, Study

MARKS = (  # methods, mark, one of Okabe and Ito's colours, words
    (("likelihood",), "o", "#0072B2", "likelihood (the loss)"),
    (("typicality",), "s", "#56B4E9", "typicality"),
    ((LOSSES,), "v", "#009E73", "neighbours, losses alone"),
    (PAPER, "^", "#E69F00", "layer-wise norms, the paper's density"),
    ((DEFAULT,), "D", "#D55E00", "fimetric, the default"),
)
RIVAL = ("x", "#000000", "best rival of the pair")


def draw(study: Study, path: Path) -> None:
    """Draw the AUROC of single samples, a panel a model."""
    panels = [(own, study.of(model, 1)) for model, own in study.owns]
    rows = [list(dict.fromkeys(c.other for c in found)) for _, found in panels]
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    height = sum(
        1.1 + 0.26 * max(map(len, rows[i * columns : (i + 1) * columns])) for i in range(lines)
    )
    figure = Figure(figsize=(5.6 * columns, height + 0.7), layout="constrained")
    ratios = [1 + 0.25 * max(map(len, rows[i * columns : (i + 1) * columns])) for i in range(lines)]
    all_axes = figure.subplots(lines, columns, squeeze=False, height_ratios=ratios).ravel()
    for axes, (own, found), (model, _) in zip(all_axes, panels, study.owns, strict=False):
        _panel(axes, study, found)
        axes.set_title(f"{own}: {model.rpartition('-')[2]}" if _twice(study, own) else own)
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    save(figure, path)


def _twice(study: Study, own: str) -> bool:
    return [name for _, name in study.owns].count(own) > 1


def _panel(axes: Axes, study: Study, found: list) -> None:
    far = list(dict.fromkeys(c.other for c in found if c.distance == "far"))
    near = list(dict.fromkeys(c.other for c in found if c.distance == "near"))
    sets = [*far, *near]
    places = {name: i for i, name in enumerate(sets)}
    for methods, mark, colour, label in MARKS:
        some = [c for c in found if c.method in methods]
        axes.plot(
            [c.auroc for c in some],
            [places[c.other] for c in some],
            mark,
            color=colour,
            label=label,
            markersize=7 if DEFAULT in methods else 6,
            alpha=0.9,
        )
    best = [study.best_rival(c) for c in found if c.method == DEFAULT]
    mark, colour, label = RIVAL
    axes.plot(
        [c.auroc for c in best], [places[c.other] for c in best], mark, color=colour, label=label
    )
    axes.set_yticks(range(len(sets)), sets, fontsize=8)
    axes.invert_yaxis()
    if near:
        axes.axhline(len(far) - 0.5, color="#999999", linewidth=0.8)
        axes.text(0.005, len(far) - 0.45, "near sets below", fontsize=7, color="#666666", va="top")
    axes.axvline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    axes.set(xlim=(-0.02, 1.02), xlabel="AUROC, single samples")
    axes.grid(axis="y", linewidth=0.3)
