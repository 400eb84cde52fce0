"""What losses consist of, as columns of a table beside them; ``Objective.parts`` says what."""

from collections.abc import Sequence

import numpy as np

from fimetric.arguments import shown
from fimetric.data import to_device
from fimetric.data.batch import Input
from fimetric.data.kinds import FLOATS, like_picture
from fimetric.data.spec import Spec
from fimetric.extraction.probing import rows_of
from fimetric.features.table import Features
from fimetric.objectives.base import Objective
from fimetric.typing import Array

FREE, COSTLY = "free", "costly"
"""The parts that one forward pass tells, and all of them."""


def refuse_unknown(parts: object) -> None:
    """Refuse what names no parts; None is for no parts at all.

    Raises:
        ValueError: listing those there are.
    """
    if parts not in (None, FREE, COSTLY):
        raise ValueError(f"parts must be None, {FREE!r} or {COSTLY!r}, not {shown(parts)}")


def loss_parts(objective: Objective, x: Input, parts: str) -> tuple[tuple[str, ...], Array]:
    """Return the names of the P parts, and the parts (N, P) of samples, in float64."""
    found = objective.parts(x, costly=parts == COSTLY)
    columns = [numbers.double().cpu().numpy() for numbers in found.values()]
    samples = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return tuple(found), np.stack(columns, 1) if columns else np.empty((samples, 0))


def difference(features: Features, objective: Objective, parts: str | None) -> str:
    """Return in words which parts a table has that are not those asked for; empty if it has those.

    Which there are is asked of the made-up rows that a table keeps; of a table without them it is
    known only whether there should be any: of a function of a batch, codes of pictures at most.
    """
    found = features.part_names
    if parts is None:
        return f"parts of the loss that are not asked for: {_listed(found)}" if found else ""
    if features.probe is None:
        tells = type(objective)._parts is not Objective._parts or _are_pictures(features.spec)
        return "losses alone, without their parts" if tells and not found else ""
    device = next(objective.module.parameters()).device
    names, _ = loss_parts(objective, to_device(rows_of(features.probe.entries), device), parts)
    if names == found:
        return ""
    return f"other parts of the loss: {_listed(found)}, not {_listed(names)}"


def _are_pictures(spec: Spec | None) -> bool:
    if spec is None or spec.kind != FLOATS or spec.shape is None:
        return False
    return like_picture(spec.shape)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
