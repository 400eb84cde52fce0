"""The objective of data in another representation, made from that of the data themselves."""

from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.fisher.representations import Changed, Representation, dequantised
from fimetric.objectives import NegativeLogLikelihood, Objective
from fimetric.objectives.base import Losses

LEVELS = 256


class Reexpressed(Objective):
    """Creates the objective of y = T(x) from that of x; it sees y alone.

    A batch is y, with ``untouched`` beside it where T leaves pixels as they are, as ``show`` makes
    it. A loss that is no likelihood, nor a bound of one, gets no log-determinant.

    Arguments:
        objective: of x.
        transform: T.
    """

    def __init__(self, objective: Objective, transform: Representation) -> None:
        super().__init__(self.forward, objective.module, objective.seed)
        self.kind = objective.kind  # type: ignore[misc]
        self.objective, self.transform = objective, transform

    def show(self, batch: Input) -> tuple[Input, Changed]:
        """Return the batch of y of a batch of x, and what T made of x."""
        changed = self.transform(data_of(batch))
        others = {} if changed.untouched is None else {"untouched": changed.untouched}
        return _with(batch, changed.y, others), changed

    def views(self) -> dict[str, Losses]:
        """Return the views of the objective of x."""
        return {name: self._view(name) for name in self.objective.views()}

    def _view(self, name: str) -> Losses:
        def losses(batch: Input) -> Tensor:
            untouched = batch.get("untouched") if isinstance(batch, dict) else None
            x = self.transform.inverse(data_of(batch), untouched)
            found = self.objective.losses(name, _without(batch, x))
            return found + self.transform(x, untouched).log_det if self.changes else found

        return losses

    @property
    def changes(self) -> bool:
        """Whether the loss is a likelihood, or a bound of one, and so changes with T."""
        return self.kind.startswith("likelihood")

    def settings(self) -> dict[str, Any]:
        """Return the objective and the representation, in words."""
        return {"of": self.objective.describe(), "transform": repr(self.transform)}


def continuous(objective: Objective, batch: Input, seed: int) -> tuple[Objective, Input, bool]:
    """Return an objective of continuous data, the data in float64, and whether noise was added.

    Discrete are the data of a ``NegativeLogLikelihood`` with ``levels``, whose ``continuous()`` is
    returned, and for other objectives data that lie on the grid k/255. Each sample gets noise of
    its own.

    Raises:
        TypeError: for data that are no floating-point numbers.
    """
    x = data_of(batch)
    if not x.is_floating_point():
        raise TypeError(
            f"a change of variables is one of continuous data, not of {x.dtype}: tokens have no "
            "Jacobian"
        )
    levels = LEVELS if _on_grid(x) else None
    if isinstance(objective, NegativeLogLikelihood):
        levels = objective.levels
        objective = objective if levels is None else objective.continuous()
    if levels is not None:
        x = dequantised(x, levels, torch.Generator().manual_seed(seed))
    where = next(objective.module.parameters()).device
    return objective, _with(batch, x.to(where, torch.float64), {}), levels is not None


def _on_grid(x: Tensor) -> bool:
    """Tell whether all values are k/255, up to the rounding of float32."""
    levels = x.double() * (LEVELS - 1)
    inside = (x >= 0).all() and (x <= 1).all()
    return bool(inside and ((levels - levels.round()).abs() < 1e-3).all())


def _with(batch: Input, x: Tensor, others: dict[str, Tensor]) -> Input:
    """Return a batch with other data in place of its own, and more beside them."""
    if not isinstance(batch, dict):
        return {"x": x, **others} if others else x
    data = data_of(batch)
    return {**{k: x if v is data else v.to(x.device) for k, v in batch.items()}, **others}


def _without(batch: Input, x: Tensor) -> Input:
    """Return a batch of x as the objective of x takes it: a tensor, where it is one alone."""
    rest = _with(batch, x, {})
    if isinstance(rest, dict):
        rest = {key: value for key, value in rest.items() if key != "untouched"}
        return x if list(rest) == ["x"] else rest
    return rest
