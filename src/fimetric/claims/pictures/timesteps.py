"""Pictures of a diffusion model's norms over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fimetric.metrics import Estimate
from fimetric.report.pictures import COLOURS, STYLES, save
from fimetric.typing import Array

MARKERS = "osD^"


def draw_over_time(
    path: Path,
    timesteps: Sequence[int],
    found: Mapping[str, Mapping[str, Sequence[Estimate]]],
) -> None:
    """Draw AUROC against the timestep, a panel for each foreign set and a line for each detector.

    Arguments:
        path: of the picture.
        timesteps: of the entries.
        found: set -> detector -> AUROC at each timestep.
    """
    figure = Figure(figsize=(4.4 * len(found), 4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for axes, (name, detectors) in zip(panels, found.items(), strict=True):
        _lines(axes, [t + 1 for t in timesteps], detectors)
        axes.set(title=name, xlabel="timestep index + 1", xscale="log", ylim=(0, 1.02))
    panels[0].set_ylabel("AUROC, single samples, 95% intervals")
    panels[-1].legend(fontsize=8)
    save(figure, path)


def draw_over_draws(
    path: Path, found: Mapping[str, Mapping[str, Sequence[Estimate]]], detector: str
) -> None:
    """Draw AUROC of one detector against the number of noise draws.

    Arguments:
        path: of the picture.
        found: timestep -> set -> AUROC with 1, 2, ... draws.
        detector: its name.
    """
    figure = Figure(figsize=(4.4 * len(found), 4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for axes, (name, sets) in zip(panels, found.items(), strict=True):
        draws = range(1, 1 + len(next(iter(sets.values()))))
        _lines(axes, list(draws), sets)
        axes.set(title=f"{detector}, {name}", xlabel="noise draws averaged")
    panels[0].set_ylabel("AUROC, single samples, 95% intervals")
    panels[-1].legend(fontsize=8)
    save(figure, path)


def _lines(axes: object, x: Sequence[int], lines: Mapping[str, Sequence[Estimate]]) -> None:
    for k, (name, estimates) in enumerate(lines.items()):
        value = np.array([e.value for e in estimates])
        reach = [value - [e.low for e in estimates], [e.high for e in estimates] - value]
        axes.errorbar(  # type: ignore[attr-defined]
            x,
            value,
            reach,
            color=COLOURS[k % len(COLOURS)],
            marker=MARKERS[k % len(MARKERS)],
            linestyle=STYLES[k % len(STYLES)],
            markersize=4,
            label=name,
        )


def draw_layers_by_time(path: Path, timesteps: Sequence[int], found: Mapping[str, Array]) -> None:
    """Draw the AUROC of each single layer at each timestep as a map, a panel for each set.

    Arguments:
        path: of the picture.
        timesteps: columns.
        found: set -> (layers, timesteps) AUROC of the log norm: 1 where foreign norms are larger.
    """
    figure = Figure(figsize=(4.2 * len(found) + 1, 6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for axes, (name, table) in zip(panels, found.items(), strict=True):
        image = axes.imshow(
            table, cmap="PuOr", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
        )
        axes.set_xticks(range(len(timesteps)), [str(t) for t in timesteps], fontsize=7)
        axes.set(title=name, xlabel="timestep index t")
    panels[0].set_ylabel("layer, in the order of the model")
    label = "AUROC of the layer's log norm (above 1/2: larger than in-distribution)"
    figure.colorbar(image, ax=list(panels), label=label, shrink=0.8)
    save(figure, path)
