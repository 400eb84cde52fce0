"""Names of an objective's views, and of the columns that come of them."""

import numpy as np

from fimetric.typing import Array


def mean_of_draws(tables: dict[str, Array]) -> dict[str, Array]:
    """Average the draws of one view, ``t=3/draw=0``, ``t=3/draw=1``, ..., after the logarithm."""
    draws: dict[str, list[Array]] = {}
    for view, table in tables.items():
        draws.setdefault(without_draw(view), []).append(table)
    return {name: np.mean(each, axis=0) for name, each in draws.items()}


def without_draw(view: str) -> str:
    """Return the prefix of a view's columns, ``t=3`` of ``t=3/draw=1``."""
    return "/".join(part for part in view.split("/") if not part.startswith("draw="))


def column_name(prefix: str, name: str) -> str:
    """Return the name of a column of features."""
    return f"{prefix}/{name}" if prefix else name
