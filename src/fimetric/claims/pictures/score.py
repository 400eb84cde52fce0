"""Pictures of the mean gradient."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from fimetric.fisher.score import ScoreTest
from fimetric.report.pictures import COLOURS, ID_COLOUR, STYLES, save

MARKERS = "osD^"


def draw_score_tests(path: Path, tests: Mapping[str, ScoreTest]) -> None:
    """Draw the share of the mean in each layer, and the growth of joint gradients.

    Arguments:
        path: of the picture.
        tests: name of a set -> its test.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    layers, groups = figure.subplots(1, 2)
    for k, (name, test) in enumerate(tests.items()):
        colour = ID_COLOUR if name.startswith("held-out") else COLOURS[k]
        _layers(layers, name, test, colour, k)
        groups.plot(
            [1, *test.growth],
            [1, *test.growth.values()],
            color=colour,
            marker=MARKERS[k],
            linestyle=STYLES[k],
            label=name,
        )
    layers.axhline(0, color="#999999", linewidth=0.8)
    layers.set(
        title="Share of the mean in the gradient, 95% intervals",
        xlabel="layer, in the order of the model",
        ylabel=r"$\rho = |E\,g|^2\,/\,E|g|^2$  (0 for a score)",
        ylim=(-0.25, 1.05),
    )
    layers.legend(fontsize=8)
    _limits(groups, max(max(test.growth, default=2) for test in tests.values()))
    save(figure, path)


def _layers(axes: Axes, name: str, test: ScoreTest, colour: str, k: int) -> None:
    axes.errorbar(
        np.arange(len(test.ratio)) + 0.3 * k,
        test.ratio,
        [test.ratio - test.low, test.high - test.ratio],
        color=colour,
        fmt=MARKERS[k],
        markersize=2.5,
        elinewidth=0.4,
        label=f"{name}: all parameters {test.whole.value:.3f}",
    )


def _limits(axes: Axes, largest: int) -> None:
    """Draw what a score and what equal gradients would give."""
    axes.plot([1, largest], [1, 1], color="#999999", linewidth=0.8)
    axes.plot([1, largest], [1, largest], color="#999999", linewidth=0.8)
    axes.annotate("all gradients alike: B", (largest / 2, largest / 2), ha="right", fontsize=8)
    axes.annotate("a score: 1", (largest / 2, 1.08), fontsize=8)
    axes.set(
        title="Growth of the joint gradient of a group",
        xlabel="group size B (samples)",
        ylabel=r"$E|g_1 + \ldots + g_B|^2\,/\,(B\,E|g|^2)$",
        xscale="log",
        yscale="log",
    )
    sizes = [B for B in (1, 2, 5, 10, 20, 50, 100) if largest >= B]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(sizes))
        axis.set_major_formatter(FixedFormatter([str(B) for B in sizes]))
        axis.set_minor_locator(NullLocator())
    axes.legend(fontsize=8, loc="upper left")
