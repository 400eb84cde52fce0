"""From a model and data to ``Features``: the call that people make."""

from pathlib import Path
from typing import Any

from fimetric.arguments import folder_of, whole, whole_or_none, yes_or_no
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.intake import refuse_idle_tensors
from fimetric.extraction.loss_parts import FREE
from fimetric.extraction.stream import run
from fimetric.features.table import Features
from fimetric.objectives.base import Objective, as_objective
from fimetric.objectives.untold import refuse_untold


def extract(
    objective: Objective,
    data: Any,
    batch_size: int | None = None,
    group_size: int = 1,
    folder: str | Path | None = None,
    progress: bool = True,
    parts: str | None = FREE,
    gradient: bool = True,
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
        parts: of the losses, see ``Objective.parts``: ``"free"`` keeps those of one forward pass
            beside them, which the default density reads, ``"costly"`` all, None none.
        gradient: whether norms are measured; without them the table has no columns, and only the
            losses and their parts are to be had.

    Raises:
        ValueError: for empty or non-finite data, unknown parts, or a folder with features of
            something else.
        RuntimeError: where a sample's loss or norms depend on the rest of its batch, or the model
            changes itself in its forward pass.
        TypeError: for a model without an objective, sizes that are no whole numbers, or a
            ``gradient`` that is neither True nor False.
    """
    refuse_idle_tensors(as_objective(objective).module)
    whole_or_none("batch_size", batch_size)
    whole("group_size", group_size)
    yes_or_no("gradient", gradient)
    if folder is not None:
        folder_of(folder)
        refuse_untold(objective)
    extractor = Extractor(objective, group_size, parts=parts, gradient=gradient)
    return run(extractor, data, batch_size, folder, progress)
