"""Pictures of the Fisher metric."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimetric.report.pictures import COLOURS, ID_COLOUR, Scores, save

MARKERS = ("o", "^", "s", "D", "v", "P", "X")
AXIS = "ln(metric / dimensions), {}"


def metric_scatter(
    path: Path,
    logs: Mapping[str, Mapping[str, Scores]],
    titles: Mapping[str, str],
    in_distribution: str,
) -> None:
    """Draw one panel per level of the metric, each against the first level.

    Arguments:
        path: of the picture.
        logs: level -> set -> ln(metric / dimensions) of its samples; nothing is drawn of a sample
            with a value that is not finite.
        titles: level -> title of its panel, of all levels but the first.
        in_distribution: name of the in-distribution set.
    """
    first, *others = logs
    figure = Figure(figsize=(4.2 * len(others), 4.4), layout="constrained")
    panels = figure.subplots(1, len(others), squeeze=False).ravel()
    for axes, level in zip(panels, others, strict=True):
        _scatter(axes, logs[first], logs[level], in_distribution)
        axes.set(title=titles[level], xlabel=AXIS.format(first), ylabel=AXIS.format(level))
    panels[0].legend(fontsize=8)
    save(figure, path)


def _scatter(
    axes: Axes, x: Mapping[str, Scores], y: Mapping[str, Scores], in_distribution: str
) -> None:
    foreign = [name for name in x if name != in_distribution]
    for k, name in enumerate([*foreign, in_distribution]):
        own = name == in_distribution
        colour = ID_COLOUR if own else COLOURS[k % len(COLOURS)]
        fine = np.isfinite(x[name]) & np.isfinite(y[name])
        axes.scatter(
            x[name][fine],
            y[name][fine],
            s=12,
            marker=MARKERS[0 if own else 1 + k % (len(MARKERS) - 1)],
            facecolors=colour if own else "none",  # open: sets lie over each other
            edgecolors="none" if own else colour,
            alpha=0.6,
            linewidths=0.8,
            label=f"{name} (in-distribution)" if own else name,
        )
    axes.grid(alpha=0.3)
