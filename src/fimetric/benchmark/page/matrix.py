"""A picture of AUROCs: own sets x foreign sets, methods side by side, a row for each family."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from fimetric.benchmark.page.words import groups, short
from fimetric.benchmark.results import Comparison
from fimetric.report.pictures import save

BELOW = "#CC79A7"  # of Okabe and Ito's colours the one farthest from all of cividis
EMPTY = "#E6E6E6"
SCALE = Normalize(0.5, 1.0)
Cell = tuple[str, str]  # own set, foreign set


def draw_matrix(path: Path, comparisons: Sequence[Comparison], methods: Sequence[str]) -> None:
    """Draw the matrix of AUROCs of single samples, averaged over seeds, of some methods.

    Arguments:
        path: of the picture.
        comparisons: of one arrangement; those of other methods and sizes are left out.
        methods: from left to right.

    Raises:
        ValueError: where nothing is left, or there is more than one arrangement.
    """
    chosen = [c for c in comparisons if c.method in methods and c.group_size == 1]
    arrangements = sorted({c.arrangement for c in chosen})
    if len(arrangements) != 1:
        raise ValueError(
            f"{' and '.join(methods)} have {len(arrangements)} arrangements of {groups(1)} "
            f"{arrangements}; pass comparisons of one"
        )
    families = {c.family: [d for d in chosen if d.family == c.family] for c in chosen}
    shapes = [_sets(some) for some in families.values()]
    widest = max(len(columns) for _, columns in shapes)
    heights = [0.42 * len(rows) + 1.3 for rows, _ in shapes]
    figure = Figure(figsize=(0.94 * widest + 4.0, sum(heights) + 0.7), layout="constrained")
    panels = figure.subplots(len(families), len(methods), squeeze=False, height_ratios=heights)
    for row, (family, some), shape in zip(panels, families.items(), shapes, strict=True):
        for axes, method in zip(row, methods, strict=True):
            theirs = [c for c in some if c.method == method]
            _panel(axes, theirs, shape)
            axes.set_title(f"{family}: {method}")
        row[0].set_ylabel("own set")
    for axes in panels[-1]:
        axes.set_xlabel("foreign set")
    _legend(figure, panels.ravel().tolist())
    save(figure, path)


def _sets(comparisons: Sequence[Comparison]) -> tuple[list[str], list[str]]:
    """Return own sets, and foreign sets: those that are own sets first, always near ones last."""
    own = list(dict.fromkeys(c.own for c in comparisons))
    far = dict.fromkeys(c.other for c in comparisons if c.distance == "far")
    rest = dict.fromkeys(short(c.own, c.other) for c in comparisons)
    return own, list(dict.fromkeys([*(name for name in own if name in far), *far, *rest]))


def _panel(
    axes: Axes, comparisons: Sequence[Comparison], shape: tuple[list[str], list[str]]
) -> None:
    """Draw one method on one family."""
    rows, columns = shape
    found: dict[Cell, list[Comparison]] = {}
    for c in comparisons:
        found.setdefault((c.own, short(c.own, c.other)), []).append(c)
    values = {cell: float(np.mean([c.auroc for c in some])) for cell, some in found.items()}
    near = {cell for cell, some in found.items() if some[0].distance == "near"}
    for i, own in enumerate(rows):
        for j, other in enumerate(columns):
            _cell(axes, i, j, values.get((own, other)), (own, other) in near)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=8)


def _cell(axes: Axes, i: int, j: int, value: float | None, near: bool) -> None:
    corner = (j - 0.5, i - 0.5)
    if value is None:
        axes.add_patch(_empty(corner))
        return
    colour = _colours()(SCALE(value))
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="#FFFFFF", linewidth=1))
    dark = float(np.dot(colour[:3], (0.299, 0.587, 0.114))) < 0.5
    ink = "#FFFFFF" if dark else "#000000"
    axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
    if near:
        inside = (j - 0.43, i - 0.4)
        axes.add_patch(Rectangle(inside, 0.86, 0.8, fill=False, edgecolor=ink, linestyle=":"))


def _colours() -> Colormap:
    return colormaps["cividis"].with_extremes(under=BELOW)


def _empty(corner: tuple[float, float]) -> Rectangle:
    return Rectangle(corner, 1, 1, facecolor=EMPTY, edgecolor="#AAAAAA", hatch="////", linewidth=0)


def _legend(figure: Figure, panels: list[Axes]) -> None:
    bar = figure.colorbar(
        ScalarMappable(SCALE, _colours()), ax=panels, extend="min", aspect=30, pad=0.02
    )
    bar.set_label(f"AUROC, {groups(1)}")
    marks = [
        Patch(facecolor=BELOW, label="below 0.5, worse than chance"),
        Patch(facecolor="none", edgecolor="#000000", linestyle=":", label="near set"),
        Patch(facecolor=EMPTY, edgecolor="#AAAAAA", hatch="////", label="not compared"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=9)
