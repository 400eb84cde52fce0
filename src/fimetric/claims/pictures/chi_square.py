"""Pictures of families fitted to layer-wise norms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimetric.fisher.families import FamilyFits
from fimetric.report.pictures import COLOURS, STYLES, save
from fimetric.typing import Array

DATA = "#BBBBBB"


def draw_densities(path: Path, fits: FamilyFits, y: Array, layers: Sequence[int]) -> None:
    """Draw histograms of some layers' y = log f with the densities that were fitted to them.

    Arguments:
        path: of the picture.
        fits: of K layers.
        y: (N, K) log norms that were fitted.
        layers: which of them to draw.
    """
    columns = min(len(layers), 3)
    rows = -(-len(layers) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.5 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes, layer in zip(panels, layers, strict=False):
        _densities(axes, fits, y[:, layer], layer)
    for axes in panels[len(layers) :]:
        axes.axis("off")
    save(figure, path)


def _densities(axes: Axes, fits: FamilyFits, y: Array, layer: int) -> None:
    heights, edges = np.histogram(y, bins=30, density=True)
    axes.stairs(heights, edges, color=DATA, fill=True)
    top = heights.max()
    margin = 0.05 * (edges[-1] - edges[0])
    low, high = edges[0] - margin, edges[-1] + margin
    for k, (family, fit) in enumerate(fits.fits.items()):
        law = fits.distribution(family, layer)
        x = _grid(law, low, high)
        axes.plot(
            x,
            law.pdf(x),
            color=COLOURS[k],
            linestyle=STYLES[k],
            label=f"{family}: D {fit.distance[layer]:.2f}, p {fit.p_value[layer]:.3f}",
        )
    axes.set_xlim(low, high)
    axes.set_ylim(0, 2 * top)  # a narrow density may leave the top; the legend needs room
    axes.set_title(f"{fits.names[layer]} (numel {fits.numels[layer]:,})", fontsize=9)
    axes.set(xlabel="log squared norm", ylabel="density")
    axes.legend(fontsize=7, loc="upper left")


def _grid(law: Any, low: float, high: float) -> Array:
    """Return points that show the whole range and a narrow peak in it."""
    peak = law.mean() + law.std() * np.linspace(-5, 5, 200)
    x = np.concatenate([np.linspace(low, high, 400), peak])
    return np.sort(x[(x >= low) & (x <= high)])


def draw_fits(path: Path, sets: Mapping[str, FamilyFits]) -> None:
    """Draw how distances and p-values are distributed over the layers.

    Arguments:
        path: of the picture.
        sets: name of the data -> families fitted to them; a line style each.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    right.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, label="a true family")
    for k, (name, fits) in enumerate(sets.items()):
        for colour, (family, fit) in zip(COLOURS, fits.fits.items(), strict=False):
            look = {"color": colour, "linestyle": STYLES[k], "label": f"{family}, {name}"}
            shares = np.arange(len(fit.distance) + 1) / len(fit.distance)
            left.step([0, *np.sort(fit.distance)], shares, where="post", **look)
            right.step([0, *np.sort(fit.p_value), 1], [*shares, 1], where="post", **look)
    left.set(
        title="Kolmogorov-Smirnov distances",
        xlabel="distance between empirical and fitted distribution",
        ylabel="share of layers with at most this",
        xlim=(0, 1),
    )
    right.set(
        title="Parametric bootstrap that refits",
        xlabel="p-value",
        ylabel="share of layers with at most this",
    )
    left.legend(fontsize=8, loc="lower right")
    right.legend(fontsize=8, loc="lower right")
    save(figure, path)
