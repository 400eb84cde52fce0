"""Data as an objective takes them."""

from collections.abc import Iterator
from typing import Any

from fimetric.data.batch import Batch
from fimetric.data.batches import Choice, batches
from fimetric.objectives.base import Objective


def read(
    objective: Objective, data: Any, batch_size: int | Choice, group_size: int = 1
) -> Iterator[Batch]:
    """Yield what ``fimetric.data.batches`` does, with texts prepared and the condition kept.

    Arguments:
        objective: texts are data where it prepares them itself.
        data, batch_size, group_size: see ``batches``.
    """
    theirs = getattr(objective.prepare, "__func__", None) is Objective.prepare
    prepare = None if theirs else objective.prepare
    return batches(data, batch_size, group_size, prepare, objective.condition)
