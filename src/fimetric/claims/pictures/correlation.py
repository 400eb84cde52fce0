"""Pictures of how layers' log norms are correlated."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fimetric.claims.pictures.looks import look
from fimetric.fisher.correlation import Correlation
from fimetric.report.pictures import save

FEWEST = 5  # pairs of layers behind a mean that is drawn


def draw_by_distance(path: Path, sets: Mapping[str, Correlation]) -> None:
    """Draw the mean correlation against the distance of layers.

    Arguments:
        path: of the picture.
        sets: name of the data -> their correlations, the in-distribution set first.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="#999999", linewidth=0.8)
    for k, (name, found) in enumerate(sets.items()):
        means = found.by_distance
        means = means[: max(len(means) + 1 - FEWEST, 1)]
        colour, style, label = look(k, name)
        axes.plot(
            np.arange(1, len(means) + 1),
            means,
            color=colour,
            linestyle=style,
            marker="o" if len(means) < 30 else None,
            markersize=3,
            label=f"{label}: worth {found.effective_number:.1f} of {len(found.names)} layers",
        )
    axes.set(
        title="Correlation of log squared norms",
        xlabel="distance of layers (informative tensors, in the order of the model)",
        ylabel="mean correlation",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    save(figure, path)


def draw_matrix(path: Path, found: Correlation, name: str) -> None:
    """Draw the correlation matrix of one set."""
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(found.matrix, cmap="PuOr", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="correlation of log squared norms")
    axes.set(
        title=f"{name}, {found.rows} samples",
        xlabel="layer (informative tensors, in the order of the model)",
        ylabel="layer",
    )
    save(figure, path)
