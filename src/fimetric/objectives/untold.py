"""Arguments of an objective, or of a statistic, that nothing that is written would tell."""

import inspect
from typing import Any

from torch import nn

from fimetric.objectives.base import Objective


def refuse_untold(objective: Objective) -> None:
    """Raise where what an objective was made with would not be told by what is written of it.

    Raises:
        ValueError: naming the arguments, and what to add.
    """
    if objective.name is not None or not (names := untold(objective)):
        return
    raise ValueError(
        f"{type(objective).__name__} takes {', '.join(names)}, and nothing that is written would "
        "tell one from another: define settings(self), which returns these arguments as values "
        "for JSON, or set objective.name to a name that you change with them"
    )


def untold(made: Any) -> list[str]:
    """Return the arguments of a constructor that is younger than its class's ``settings``.

    The model, which comes first, and other modules that are kept are told by themselves.
    """
    order = type(made).__mro__
    maker, teller = (next(c for c in order if n in vars(c)) for n in ("__init__", "settings"))
    if order.index(maker) >= order.index(teller):
        return []
    known = {*inspect.signature(teller).parameters, "args", "kwargs"}
    rest = list(inspect.signature(maker).parameters)[1:]
    return [n for n in rest if n not in known and not isinstance(getattr(made, n, None), nn.Module)]
