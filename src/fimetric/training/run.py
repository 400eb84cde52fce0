"""What changes while a model is trained, all of which a checkpoint keeps."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.models import Model
from fimetric.training.recipes import Recipe


class Run:
    """Everything that changes while training: weights, average, optimiser, step and history."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.optimiser = recipe.make_optimiser(model)
        self.average = copied(model)
        self.step, self.best, self.best_step = 0, math.inf, 0
        self.rows: list[dict[str, Any]] = []  # see History
        self.losses: list[float] = []  # since the last row

    def to_device(self, x: Tensor) -> Tensor:
        """Return a tensor where the model is."""
        return x.to(next(self.model.parameters()).device)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the weights of now."""
        # decay grows with the steps: the first average is not weighed down by the initial weights
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        names = [name for name, t in state.items() if t.is_floating_point()]
        torch._foreach_lerp_([self.average[n] for n in names], [state[n] for n in names], 1 - decay)
        for name in state.keys() - set(names):
            self.average[name].copy_(state[name])

    @contextmanager
    def averaged(self) -> Iterator[Model]:
        """Lend the model with averaged weights, in evaluation mode; put its own back afterwards."""
        own = copied(self.model)
        self.model.load_state_dict(self.average)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(own)
            self.model.train()


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a model, which further steps leave as it is."""
    return {name: t.detach().clone() for name, t in model.state_dict().items()}
