"""Losses of a data set, batch by batch, each with its graph: what every statistic here reads."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fimetric.data import batches, length, to_device
from fimetric.objectives.base import Objective
from fimetric.progress import progress as show_progress


def losses(
    objective: Objective,
    data: Any,
    batch_size: int,
    view: str | None = None,
    what: str = "gradients",
    progress: bool = True,
) -> Iterator[Tensor]:
    """Yield the losses (n,) of one batch after another, on the objective's device.

    Arguments:
        objective: what is differentiated.
        data: whatever ``fimetric.data.batches`` takes.
        batch_size: samples to a batch.
        view: name of one of the objective's views, which may be left out where there is one.
        what: name of the work, for the progress bar.
        progress: whether to show it.

    Raises:
        ValueError: where the view is unknown, or none is named of several; for a loss that is not
            finite, naming the sample; for no data.
    """
    name = chosen_view(objective, view)
    device = next(objective.module.parameters()).device
    with show_progress(what, length(data), progress) as advance:
        for batch in batches(data, batch_size):
            with torch.enable_grad():
                found = objective.losses(name, to_device(batch.x, device))
            if not found.isfinite().all():
                row = int((~found.isfinite()).nonzero()[0])
                raise ValueError(
                    f"the loss of sample {batch.ids[row]!r} is {found[row].item()}; leave it out: "
                    "one such sample would be all of a mean"
                )
            yield found
            advance(len(batch.ids))


@torch.no_grad()
def loss_values(
    objective: Objective, data: Any, batch_size: int = 64, progress: bool = True
) -> NDArray[np.float64]:
    """Return the loss of every sample, mean over the objective's views, without gradients, (N,)."""
    device = next(objective.module.parameters()).device
    found = []
    with show_progress("losses", length(data), progress) as advance:
        for batch in batches(data, batch_size):
            found.append(objective(to_device(batch.x, device)).double().cpu().numpy())
            advance(len(batch.ids))
    return np.concatenate(found)


def chosen_view(objective: Objective, view: str | None) -> str:
    """Return the name of a view, which may be None where there is one only."""
    views = list(objective.views())
    if view is None and len(views) == 1:
        return views[0]
    if view not in views:
        raise ValueError(f"name one of the objective's views, {', '.join(views)}; got {view!r}")
    return view
