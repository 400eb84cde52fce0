"""Pictures of changes of representation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fimetric.report.pictures import COLOURS, save
from fimetric.typing import Array


def change_histogram(path: Path, bits: Array, change: str, data: str) -> None:
    """Draw the histogram of the change in code length that a representation makes.

    Arguments:
        path: of the picture.
        bits: (N,) log |det dT/dx| in bits per dimension, one for each sample.
        change: the representation in words.
        data: name of the data set.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.hist(bits, bins=min(40, max(len(bits) // 5, 5)), color=COLOURS[0], alpha=0.8)
    axes.axvline(float(np.mean(bits)), color="#000000", linestyle="--", label="mean")
    axes.set(
        title=f"{change}: how much the likelihood of {data} changes, the gradient not at all",
        xlabel="change of the code length, bits per dimension",
        ylabel=f"images of {len(bits)}",
    )
    axes.legend(fontsize=8)
    save(figure, path)


def correlation_maps(path: Path, names: Sequence[str], maps: Mapping[str, Array]) -> None:
    """Draw rank correlations between models, one panel per score.

    Arguments:
        path: of the picture.
        names: R names of the models.
        maps: title -> (R, R) correlations.
    """
    figure = Figure(figsize=(5.6 * len(maps) + 0.8, 5.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(maps))).ravel()
    for axes, (title, values) in zip(panels, maps.items(), strict=True):
        image = axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(title)
        _label(axes, names, values)
    figure.colorbar(image, ax=panels.tolist(), label="Spearman's rank correlation", shrink=0.8)
    save(figure, path)


def _label(axes: Axes, names: Sequence[str], values: Array) -> None:
    places = range(len(names))
    axes.set_xticks(places, names, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(places, names, fontsize=8)
    for i in places:
        for j in places:
            colour = "white" if abs(values[i, j]) > 0.6 else "black"
            axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color=colour)
