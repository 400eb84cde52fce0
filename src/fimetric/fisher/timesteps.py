"""A diffusion model's norms at one timestep after another, and with more and more noise draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fimetric.data import Samples
from fimetric.extraction import extract
from fimetric.features.table import Features
from fimetric.objectives.denoising import Denoising
from fimetric.store.files import safe_name


@dataclass(frozen=True)
class Draw:
    """One timestep and one draw of its noise."""

    t: int
    draw: int


def at(objective: Denoising, draw: Draw) -> Denoising:
    """Return the objective at one timestep, with the noise of another seed for each draw."""
    return objective.at((draw.t,), 1, objective.seed + draw.draw)


def norms_over_time(
    objective: Denoising,
    sets: Mapping[str, Samples],
    draws: Sequence[Draw],
    folder: Path,
    batch_size: int = 64,
    progress: bool = True,
) -> dict[Draw, dict[str, Features]]:
    """Return the log norms of all sets at every timestep and draw, kept in a folder.

    Arguments:
        objective: whose model and kind of loss are taken.
        sets: name -> samples.
        draws: what to measure.
        folder: of the features; a stopped call goes on from there.
        batch_size: samples to a forward pass.
        progress: whether to show progress.
    """
    return {
        draw: {
            name: extract(
                at(objective, draw),
                samples,
                batch_size,
                folder=folder / f"t={draw.t}-draw={draw.draw}" / safe_name(name),
                progress=progress,
            )
            for name, samples in sets.items()
        }
        for draw in draws
    }


def mean_of_draws(tables: Sequence[Features]) -> Features:
    """Return the table of several draws: log norms and losses averaged, rounding bounds likewise.

    Raises:
        ValueError: where the tables are not of the same samples and columns.
    """
    first = tables[0]
    if any(t.ids != first.ids or t.names != first.names for t in tables):
        raise ValueError("draws can be averaged over the same samples and columns only")
    return replace(
        first,
        values=np.mean([t.values for t in tables], axis=0),
        losses=np.mean([t.losses for t in tables], axis=0),
        bounds=np.mean([t.bounds for t in tables], axis=0),
    )


def side_by_side(tables: Sequence[Features]) -> Features:
    """Return several timesteps' tables as one, a column for each layer at each timestep.

    Raises:
        ValueError: where the tables are not of the same samples, or columns repeat.
    """
    first = tables[0]
    if any(t.ids != first.ids for t in tables):
        raise ValueError("timesteps can stand side by side for the same samples only")
    return replace(
        first,
        values=np.concatenate([t.values for t in tables], axis=1),
        names=tuple(name for t in tables for name in t.names),
        losses=np.concatenate([t.losses for t in tables], axis=1),
        views=tuple(view for t in tables for view in t.views),
        bounds=np.concatenate([t.bounds for t in tables]),
        numels=np.concatenate([t.numels for t in tables]),
        objective=f"{first.objective} and {len(tables) - 1} more",
    )
