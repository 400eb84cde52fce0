"""From a model and data to ``Features``: streaming, checked, and resumed where it was stopped."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from fimetric.data import Batch, length, to_device
from fimetric.data.batch import Input
from fimetric.data.batches import Choice, rounded
from fimetric.extraction.extractor import placed
from fimetric.extraction.intake import (
    Intake,
    named_failures,
    of_autograd,
    refuse_idle_tensors,
)
from fimetric.extraction.memory import batch_size_for
from fimetric.extraction.parts import Parts
from fimetric.extraction.reference import Reference
from fimetric.extraction.windows import BATCHES, Window, of_one_length, windows
from fimetric.features.groups import refuse_rest
from fimetric.features.table import Features
from fimetric.gradients.contributions.costs import Costs
from fimetric.gradients.precision import without_autocast
from fimetric.objectives.base import Objective
from fimetric.objectives.reading import read
from fimetric.progress import progress as show_progress
from fimetric.typing import Array


class Extraction(Protocol):
    """Turns batches into features: ``Extractor``, or one of other statistics."""

    group_size: int
    costs: Costs | None  # by which the forms of norms are chosen; those of this machine if None

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

    def bounds(self, reference: Sequence[Input]) -> Array:
        """Return the bounds (J,) on the rounding of squared values, as some samples show them."""
        ...

    def __call__(self, batch: Batch) -> Features:
        """Return the features of one batch of whole groups."""
        ...


def stream(
    extractor: Extraction,
    data: Any,
    batch_size: int | None = None,
    group_size: int | None = None,
    *,
    whole_groups: bool = False,
    intake: Intake | None = None,
    parts: Parts | None = None,
    advance: Callable[[int], object] | None = None,
) -> Iterator[tuple[Batch, Features]]:
    """Yield the samples of some data, batch by batch in their order, each with its features.

    No more than a batch is held, of samples of different length some: they go through the model
    sorted by length. Whatever is made of all the data is made by who asks.

    Arguments:
        extractor: makes the features; it may have seen batches before.
        data: whatever ``fimetric.data.batches`` takes, and texts where the objective prepares them.
        batch_size: samples to a forward pass; as many as memory holds, 64 at most, if None.
        group_size: samples that stay in one batch; those of the extractor's groups if None.
        whole_groups: whether samples left over at the end raise ValueError; else they are left out.
        intake: checks each batch; a new one if None.
        parts: where features are kept on the way; in no place if None.
        advance: is told of samples that are done, as they are.

    Raises:
        ValueError, TypeError: see ``fimetric.data.batches``; for samples that follow another
            convention than the first ones; for features in ``parts`` of other data.
        RuntimeError: see ``Extractor``.
    """
    objective, module = extractor.objective, extractor.objective.module
    refuse_idle_tensors(module)
    check = Intake(objective) if intake is None else intake
    held = Parts(None, extractor.difference) if parts is None else parts

    def choice(first: Batch) -> int:
        size = batch_size or held.batch_size
        first = check(objective.conditioned(first))
        held.batch_size = size or batch_size_for(objective, placed(first, module))
        return held.batch_size

    def make(batch: Batch) -> Features:
        with named_failures(module, batch), without_autocast(next(module.parameters()).device):
            return extractor(batch)

    size = group_size or extractor.group_size
    source = (_whole if whole_groups else read)(objective, data, choice, size)
    tell = advance or (lambda samples: None)
    for window in windows(source, lambda: BATCHES * rounded(held.batch_size or 1, size)):
        ready = [check(objective.conditioned(batch)) for batch in window]
        rows = Window(
            window,
            rounded(held.batch_size or 1, size),
            extractor.group_size,
            lambda batch: make(of_autograd(objective.conditioned(batch))),
            tell,
        )
        alone = of_one_length(window)
        for number, batch in enumerate(ready):
            yield batch, held.features(batch, make if alone else rows.maker(number))
            if not rows.made:
                tell(len(batch))
    check.tell()


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
    parts = Parts(None if folder is None else Path(folder), extractor.difference)
    extractor.costs = parts.costs or extractor.costs
    reference = Reference()
    total = length(data)
    whole = None if total is None else total // group_size * group_size
    with show_progress("extracting", whole, progress) as advance:
        found = stream(
            extractor,
            data,
            batch_size,
            whole_groups=whole_groups,
            intake=check,
            parts=parts,
            advance=advance,
        )
        try:
            for batch, _ in found:
                if not whole_groups:  # what is judged by a density needs no bounds
                    reference.see(batch.x)
        finally:
            parts.flush()
    device = next(module.parameters()).device
    rows = [to_device(x, device) for x in reference.rows()]
    with without_autocast(device):
        return parts.finish(check.spec, lambda: extractor.bounds(rows) if rows else None)


def _whole(objective: Objective, data: Any, choice: Choice, group_size: int) -> Iterator[Batch]:
    """Yield batches of whole groups, and raise where a batch ends within a group.

    Raises:
        ValueError: at the last batch, since an iterable does not tell its length before.
    """
    done = 0
    for batch in read(objective, data, lambda first: rounded(choice(first), group_size)):
        done += len(batch)
        refuse_rest(done, group_size)
        yield batch
