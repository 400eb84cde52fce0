"""Columns that a density may be given: what is made of a table of log norms and losses."""

from dataclasses import replace

import numpy as np

from fimetric.features.table import Features


def modules(table: Features) -> Features:
    """Add up the squared norms of the tensors of one module."""
    names = [name.rpartition(".")[0] for name in table.names]
    found = list(dict.fromkeys(names))
    chosen = [np.array([n == module for n in names]) for module in found]
    values = [np.logaddexp.reduce(table.values[:, which], axis=1) for which in chosen]
    return replace(
        table,
        values=np.stack(values, 1),
        names=tuple(found),
        bounds=np.array([table.bounds[which].sum() for which in chosen]),
        numels=np.array([table.numels[which].sum() for which in chosen]),
    )


def losses(table: Features) -> Features:
    """Take the logarithms of the views' losses in place of the norms, as the benchmark does."""
    return table.with_columns(np.log(table.group_losses), table.views)


def beside(table: Features) -> Features:
    """Put the losses of the views beside the norms."""
    other = losses(table)
    return replace(
        table,
        values=np.concatenate([table.values, other.values], axis=1),
        names=(*table.names, *(f"loss {name}" for name in other.names)),
        bounds=np.concatenate([table.bounds, other.bounds]),
        numels=np.concatenate([table.numels, other.numels]),
    )


def at(table: Features, times: tuple[int, ...]) -> Features:
    """Keep some timesteps of a diffusion model's table, and all of another's."""
    if not any(view.startswith("t=") for view in table.views):
        return table
    kept = [view for view in table.views if int(view.split("/")[0][2:]) in times]
    names = [n for n in table.names if int(n.split("/")[0][2:]) in times]
    places = [table.views.index(view) for view in kept]
    return replace(table.columns(names), losses=table.losses[:, places], views=tuple(kept))
