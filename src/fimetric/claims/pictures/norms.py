"""Pictures of the norms of own and foreign data, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimetric.claims.pictures.looks import look
from fimetric.report.pictures import save
from fimetric.typing import Array


def draw_two_layers(
    path: Path, sets: Mapping[str, Array], names: Sequence[str], pair: tuple[int, int]
) -> None:
    """Draw the log norms of two layers against each other, with their histograms.

    Arguments:
        path: of the picture.
        sets: name of the data -> (N, K) log norms, the in-distribution set first.
        names: of the K layers.
        pair: which two of them.
    """
    figure = Figure(figsize=(7.5, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4))
    main = figure.add_subplot(grid[1, 0])
    above = figure.add_subplot(grid[0, 0], sharex=main)
    beside = figure.add_subplot(grid[1, 1], sharey=main)
    limits = [_limits([values[:, layer] for values in sets.values()]) for layer in pair]
    for k, (name, values) in enumerate(sets.items()):
        x, y = (np.clip(values[:, layer], *ends) for layer, ends in zip(pair, limits, strict=True))
        colour, style, label = look(k, name)
        main.scatter(x, y, s=8, alpha=0.5, color=colour, marker="os^Dvx"[k % 6], label=label)
        shares, edges = _shares(x, limits[0])
        above.stairs(shares, edges, color=colour, linestyle=style)
        shares, edges = _shares(y, limits[1])
        beside.stairs(shares, edges, color=colour, linestyle=style, orientation="horizontal")
    above.axis("off")
    beside.axis("off")
    main.set_xlim(_wider(limits[0]))
    main.set_ylim(_wider(limits[1]))
    main.set(xlabel=f"log squared norm, {names[pair[0]]}")
    main.set(ylabel=f"log squared norm, {names[pair[1]]}")
    main.legend(fontsize=8)
    save(figure, path)


def draw_medians(path: Path, sets: Mapping[str, Array]) -> None:
    """Draw medians and interquartile ranges of each layer, raw and in own deviations.

    Arguments:
        path: of the picture.
        sets: name of the data -> (N, K) log norms, the in-distribution set first; there finite.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    raw, unit = figure.subplots(2, 1, sharex=True)
    own = next(iter(sets.values()))
    middle, deviation = np.median(own, axis=0), own.std(0)
    for k, (name, values) in enumerate(sets.items()):
        # Without interpolation: between an exact zero's -inf and a number there is none.
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
        _band(raw, k, name, low, median, high)
        z = [(q - middle) / deviation for q in (low, median, high)]
        _band(unit, k, name, z[0], z[1], z[2])
    raw.set(title="Layer by layer: median and interquartile range", ylabel="log squared norm")
    unit.set(
        xlabel="layer (informative tensors, in the order of the model)",
        ylabel="the same, minus the own median,\nin own standard deviations",
    )
    raw.legend(fontsize=8)
    save(figure, path)


def _band(axes: Axes, k: int, name: str, low: Array, median: Array, high: Array) -> None:
    colour, style, label = look(k, name)
    layers = np.arange(len(median))
    axes.fill_between(layers, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(layers, median, color=colour, linestyle=style, linewidth=1.2, label=label)


def _limits(columns: Sequence[Array]) -> tuple[float, float]:
    """Return a range that holds 99% of every set."""
    finite = [values[np.isfinite(values)] for values in columns]
    ends = [np.quantile(values, [0.005, 0.995]) for values in finite if len(values)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return float(low), float(max(high, low + 1e-6 * max(abs(low), 1.0)))


def _shares(values: Array, ends: tuple[float, float]) -> tuple[Array, Array]:
    counts, edges = np.histogram(values, 40, ends)
    return counts / len(values), edges


def _wider(ends: tuple[float, float]) -> tuple[float, float]:
    margin = 0.03 * (ends[1] - ends[0])
    return ends[0] - margin, ends[1] + margin
