"""From a model and data to ``Features``: streaming, checked, and resumed where it was stopped."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fimetric.arguments import folder_of, whole, whole_or_none
from fimetric.data import Batch, batches, length, to_device
from fimetric.data.batches import Choice, rounded
from fimetric.extractor import Extractor, placed
from fimetric.features.table import Features
from fimetric.intake import Intake, named_failures, refuse_idle_tensors
from fimetric.memory import batch_size_for
from fimetric.objectives.base import Batch as Input
from fimetric.objectives.base import Objective, as_objective, refuse_untold
from fimetric.parts import Parts
from fimetric.progress import progress as show_progress
from fimetric.reference import Reference


def extract(
    objective: Objective,
    data: Any,
    batch_size: int | None = None,
    group_size: int = 1,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Features:
    """Return the log squared gradient norms of every group of samples and every layer.

    Arguments:
        objective: what is differentiated.
        data: whatever ``fimetric.data.batches`` takes.
        batch_size: samples to a forward pass, rounded to whole groups. If None, as many as memory
            holds, 64 at most; a call that goes on takes the size of the one before.
        group_size: consecutive samples whose losses are summed before differentiating. Samples
            left over at the end are cut, with a log line.
        folder: where to keep the features. Parts are written to ``<folder>.parts`` as they are
            done; a later call with the same model, objective and data goes on from there.
        progress: show a progress bar with the time left.

    Raises:
        ValueError: for empty or non-finite data, or a folder with features of something else.
        RuntimeError: where a sample's loss or norms depend on the rest of its batch, or the model
            changes itself in its forward pass.
        TypeError: for a model without an objective, or sizes that are no whole numbers.
    """
    refuse_idle_tensors(as_objective(objective).module)
    whole_or_none("batch_size", batch_size)
    whole("group_size", group_size)
    if folder is not None:
        folder_of(folder)
        refuse_untold(objective)
    return run(Extractor(objective, group_size), data, batch_size, folder, progress)


class Extraction(Protocol):
    """Turns batches into features: ``Extractor``, or one of other statistics."""

    group_size: int

    @property
    def objective(self) -> Objective:
        """The objective whose model the batches go through."""
        ...

    def words(self) -> str:
        """Return what is measured, in words that change when it does."""
        ...

    def difference(self, features: Features) -> str:
        """Return in words what else a table was made from; empty where it was this."""
        ...

    def bounds(self, reference: Sequence[Input]) -> NDArray[np.float64]:
        """Return the bounds (J,) on the rounding of squared values, as some samples show them."""
        ...

    def __call__(self, batch: Batch) -> Features:
        """Return the features of one batch of whole groups."""
        ...


def run(
    extractor: Extraction,
    data: Any,
    batch_size: int | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
    whole_groups: bool = False,
    intake: Intake | None = None,
) -> Features:
    """Do what ``extract`` does with an extractor that may have seen batches before.

    With ``whole_groups`` samples left over at the end raise ValueError. Each batch is checked by
    ``intake``, a new one if None.
    """
    group_size, module = extractor.group_size, extractor.objective.module
    check = Intake(extractor.objective) if intake is None else intake
    refuse_idle_tensors(module)
    parts = Parts(None if folder is None else Path(folder), extractor.difference)

    def choice(first: Batch) -> int:
        size = batch_size or parts.batch_size
        first = check(first)
        parts.batch_size = size or batch_size_for(extractor.objective, placed(first, module))
        return parts.batch_size

    reference = Reference()
    source = (_whole if whole_groups else batches)(data, choice, group_size)
    total = length(data)
    whole = None if total is None else total // group_size * group_size
    with show_progress("extracting", whole, progress) as advance:
        try:
            for batch in map(check, source):
                if not whole_groups:  # what is judged by a density needs no bounds
                    reference.see(batch.x)
                if not parts.holds(batch):
                    with named_failures(module, batch):
                        parts.add(extractor(batch))
                advance(len(batch.ids))
        finally:
            parts.flush()
    check.tell()
    rows = [to_device(x, next(module.parameters()).device) for x in reference.rows()]
    return parts.finish(check.spec, lambda: extractor.bounds(rows) if rows else None)


def _whole(data: Any, choice: Choice, group_size: int) -> Iterator[Batch]:
    """Yield batches of whole groups, and raise where a batch ends within a group.

    Raises:
        ValueError: at the last batch, since an iterable does not tell its length before.
    """
    done = 0
    for batch in batches(data, lambda first: rounded(choice(first), group_size)):
        done += len(batch)
        if done % group_size:
            raise ValueError(
                f"{done} samples do not make whole groups of {group_size}; leave out "
                f"{done % group_size}"
            )
        yield batch
