"""What there is to know of a model before it is used: loss, columns, parameters, cost, remarks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fimetric.data import Samples
from fimetric.data.kinds import TOKENS
from fimetric.detection.measuring import MOST, Cost, cost_of
from fimetric.detection.remarks import of_data, of_model, stopping
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.views import column_name, without_draw
from fimetric.objectives.base import Objective
from fimetric.objectives.limits import POSITIONS

TEXT = 64  # tokens of a made-up text
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Arguments:
        model: class of the model.
        kind: of the loss, in words.
        loss: what the objective says of itself.
        views: names of the losses that stand side by side.
        columns: names of the J columns.
        parameters: number of them.
        differentiated: number of those that are not frozen.
        cost: of a sample; None where nothing was measured, which ``remarks`` explain.
        made_up: whether it was measured on made-up samples.
        remarks: what to know, a sentence each.
    """

    model: str
    kind: str
    loss: str
    views: tuple[str, ...]
    columns: tuple[str, ...]
    parameters: int
    differentiated: int
    cost: Cost | None
    made_up: bool
    remarks: tuple[str, ...]


def inspect(
    objective: Objective, data: Samples | None = None, shape: Shape | None = None
) -> Inspection:
    """Return what there is to know of an objective and its model, which stay as they are.

    Arguments:
        objective: what is differentiated.
        data: the first of them are measured; without them, made-up samples where it is known what
            a sample looks like.
        shape: of a sample, where it is known.

    Raises:
        ValueError, TypeError, RuntimeError: for data that the model cannot take.
    """
    module, views = objective.module, tuple(objective.views())
    remarks = [*stopping(module), *of_model(objective)]
    cost = None
    if not stopping(module):
        cost, said = _cost(objective, data, shape)
        remarks += said
    if data is not None:
        remarks += of_data(len(data))
    each = list(module.parameters())
    return Inspection(
        type(module).__name__,
        objective.kind,
        objective.describe(),
        views,
        _columns(objective, views),
        sum(p.numel() for p in each),
        sum(p.numel() for p in each if p.requires_grad),
        cost,
        data is None,
        tuple(remarks),
    )


def _columns(objective: Objective, views: tuple[str, ...]) -> tuple[str, ...]:
    extractor = Extractor(objective)
    prefixes = dict.fromkeys(map(without_draw, views))
    return tuple(column_name(p, name) for p in prefixes for name in extractor.norms_of(p).names)


def _cost(
    objective: Objective, data: Samples | None, shape: Shape | None
) -> tuple[Cost | None, list[str]]:
    """Return what a sample costs, or why that is not known."""
    if data is not None:
        return cost_of(objective, lambda n: data.select(range(n)), len(data)), []
    made = made_up(objective, shape)
    if made is None:
        return None, ["what a sample looks like is not known: pass --data to measure its cost"]
    try:
        return cost_of(objective, lambda n: made[:n], MOST), []
    except (ValueError, TypeError, RuntimeError) as error:  # the samples are ours
        said = " ".join(str(error).split())
        return None, [f"pass --data to measure the cost; made-up samples will not do: {said}"]


def made_up(objective: Objective, shape: Shape | None = None) -> Tensor | None:
    """Return samples that look as an objective wants them, (64, ...); None if that is not known.

    Arguments:
        objective: what is differentiated.
        shape: of a sample, where it is known.
    """
    spec, generator = objective.spec, torch.Generator().manual_seed(0)
    if objective.condition is not None:
        return None
    if spec is not None and spec.kind == TOKENS:
        if spec.vocabulary is None:
            return None
        size = (MOST, _tokens(objective))
        return torch.randint(spec.vocabulary, size, generator=generator)
    if shape is None and spec is not None and spec.shape is not None and None not in spec.shape:
        shape = tuple(side for side in spec.shape if side is not None)
    return None if shape is None else torch.rand(MOST, *shape, generator=generator)


def _tokens(objective: Objective) -> int:
    """Return the length of a made-up text: as long as the model and the window allow."""
    config = getattr(objective.module, "config", None)
    told = [getattr(config, name, None) for name in POSITIONS]
    told.append(getattr(objective, "window", None))
    return min([TEXT, *(n for n in told if isinstance(n, int) and n > 0)])
