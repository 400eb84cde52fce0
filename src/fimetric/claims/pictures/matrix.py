"""Pictures of windows of the Fisher information matrix."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimetric.fisher.matrix import Entries, normalised
from fimetric.report.pictures import COLOURS, save
from fimetric.typing import Array


def draw_windows(path: Path, windows: Mapping[str, tuple[Entries, Array]]) -> None:
    """Draw windows of normalised matrices, with lines between tensors.

    Arguments:
        path: of the picture.
        windows: what the matrix is -> weights, and their matrix (K, K).
    """
    figure = Figure(figsize=(5.2 * len(windows) + 0.6, 5.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(windows)))
    for axes, (name, (entries, F)) in zip(panels, windows.items(), strict=True):
        image = axes.imshow(normalised(F), cmap="PuOr", vmin=-1, vmax=1, interpolation="nearest")
        _borders(axes, entries)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("weight, by tensor")
    figure.colorbar(image, ax=list(panels), label=r"$F_{ab}\,/\,\sqrt{F_{aa} F_{bb}}$", shrink=0.8)
    save(figure, path)


def _borders(axes: Axes, entries: Entries) -> None:
    """Mark where one tensor ends and the next begins, and name them along the side."""
    edges = np.flatnonzero(np.diff(entries.layer)) + 0.5
    for edge in edges:
        axes.axhline(edge, color="#000000", linewidth=0.6)
        axes.axvline(edge, color="#000000", linewidth=0.6)
    bounds = [-0.5, *edges, len(entries.layer) - 0.5]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(bounds)]
    shown = [entries.names[j] for j in np.unique(entries.layer)]
    axes.set_yticks(middles, shown, rotation=90, va="center", fontsize=5.5)
    axes.set_xticks([])


def draw_entries(path: Path, matrices: Mapping[str, Array], noise: Array) -> None:
    """Draw the distributions of entries on and off the diagonal, raw and normalised.

    Arguments:
        path: of the picture.
        matrices: what the matrix is -> (K, K).
        noise: normalised entries off the diagonal of the first, from gradients with random signs.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    raw, unit = figure.subplots(1, 2)
    for k, (name, F) in enumerate(matrices.items()):
        off = ~np.eye(len(F), dtype=bool)
        colour = COLOURS[k]
        _log_histogram(raw, np.diag(F), colour, "-", f"{name}: diagonal")
        _log_histogram(raw, np.abs(F[off]), colour, ":", f"{name}: |off diagonal|")
        values = np.abs(normalised(F)[off])
        _share(unit, values, colour, "-", f"{name}: mean {values.mean():.3f}")
    values = np.abs(noise)
    _share(
        unit, values, "#000000", "--", f"random signs (sampling error): mean {values.mean():.3f}"
    )
    raw.set(
        title="Entries as they are",
        xlabel=r"$\log_{10}$ of the entry (nats$^2$ per squared weight)",
        ylabel="share of entries",
    )
    unit.set(
        title="Entries off the diagonal, normalised",
        xlabel=r"$|F_{ab}|\,/\,\sqrt{F_{aa} F_{bb}}$",
        ylabel="share of entries at least this large",
        yscale="log",
        ylim=(1e-4, 1.2),
    )
    raw.set_ylim(top=1.5 * raw.get_ylim()[1])  # room for the legend
    raw.legend(fontsize=7, loc="upper left")
    unit.legend(fontsize=7)
    save(figure, path)


def _log_histogram(axes: Axes, values: Array, colour: str, style: str, label: str) -> None:
    logs = np.log10(values[values > 0])
    shares, edges = np.histogram(logs, 40)
    axes.stairs(shares / len(logs), edges, color=colour, linestyle=style, label=label)


def _share(axes: Axes, values: Array, colour: str, style: str, label: str) -> None:
    grid = np.linspace(0, 1, 200)
    above = 1 - np.searchsorted(np.sort(values), grid) / len(values)
    axes.plot(grid, above, color=colour, linestyle=style, label=label)
