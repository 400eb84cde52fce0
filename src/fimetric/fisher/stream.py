"""Losses of a data set, batch by batch, each with its graph: what every statistic here reads."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fimetric.data import length, to_device
from fimetric.gradients import GradientNorms
from fimetric.objectives.base import Objective
from fimetric.objectives.reading import read
from fimetric.progress import progress as show_progress
from fimetric.typing import Array

LARGEST = 1e150  # of squared norms: float64 holds sums of their squares


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
        for batch in read(objective, data, batch_size):
            with torch.enable_grad():
                found = objective.losses(name, to_device(batch.x, device))
            refuse_infinite(found, batch.ids, "the loss of sample")
            yield found
            advance(len(batch.ids))


def grams(norms: GradientNorms, batches_of_losses: Iterable[Tensor]) -> Iterator[Array]:
    """Yield the inner products of the gradients of one batch after another, (J, n, n).

    Raises:
        ValueError: where a squared norm is nan, infinite, or so large that its square would be.
    """
    samples = 0
    for found in batches_of_losses:
        gram = norms.gram(found).double().cpu().numpy()
        wrong = np.argwhere(~(np.diagonal(gram, axis1=1, axis2=2) < LARGEST))
        if len(wrong):
            j, n = wrong[0]
            raise ValueError(
                f"the gradient of sample number {samples + n} is not finite in layer "
                f"{norms.names[j]!r}; leave the sample out, or use model.double(): one such sample "
                "would be all of a mean"
            )
        samples += len(found)
        yield gram


def refuse_infinite(values: Tensor, ids: Sequence[str], what: str) -> None:
    """Refuse values (n,) of which one is not finite.

    Arguments:
        values: one number per sample.
        ids: of the samples.
        what: the number is of, in front of the id.

    Raises:
        ValueError: naming the sample.
    """
    strange = (~values.isfinite()).nonzero().flatten().tolist()
    if strange:
        row = strange[0]
        raise ValueError(
            f"{what} {ids[row]!r} is {values[row].item()}; leave it out: one such sample would be "
            "all of a mean"
        )


@torch.no_grad()
def loss_values(
    objective: Objective, data: Any, batch_size: int = 64, progress: bool = True
) -> Array:
    """Return the loss of every sample, mean over the objective's views, without gradients, (N,)."""
    device = next(objective.module.parameters()).device
    found = []
    with show_progress("losses", length(data), progress) as advance:
        for batch in read(objective, data, batch_size):
            found.append(objective(to_device(batch.x, device)).double().cpu().numpy())
            advance(len(batch.ids))
    return np.concatenate(found)


def chosen_view(objective: Objective, view: str | None) -> str:
    """Return the name of a view, which may be None where there is one only.

    Raises:
        ValueError: for an unknown view, or None where there are several.
    """
    views = list(objective.views())
    if view is None and len(views) == 1:
        return views[0]
    if view not in views:
        raise ValueError(f"name one of the objective's views, {', '.join(views)}; got {view!r}")
    return view
