"""How a model is trained: all settings of a run, and sensible ones for each kind of model."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from fimetric.arguments import real, seed_of, whole, whole_or_none
from fimetric.models.family import family


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run.

    ``lr`` is reached after ``warmup`` steps and then falls to a twentieth along a cosine. ``clip``
    is the largest norm of the gradient of the loss per dimension. ``ema`` is the decay of the
    moving average of the weights. ``patience`` validations without a new best end the run.

    Raises:
        ValueError: for a setting out of range.
    """

    steps: int
    lr: float = 1e-3
    batch_size: int = 64
    optimiser: Literal["adamw", "adamax"] = "adamw"
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    validate_every: int = 1
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: for a setting out of range.
        """
        least = {
            "steps": 1,
            "batch_size": 1,
            "validate_every": 1,
            "patience": 1,
            "warmup": 0,
        }
        seed_of(self.seed)
        for name, bound in least.items():
            whole_or_none(name, getattr(self, name), bound)
        for name in ("lr", "clip", "ema"):
            real(name, getattr(self, name))
        if not (0 < self.lr < math.inf and self.clip > 0 and 0 <= self.ema < 1):
            raise ValueError(
                "lr and clip must be positive and ema in [0, 1), "
                f"got lr={self.lr}, clip={self.clip}, ema={self.ema}"
            )
        if self.optimiser not in ("adamw", "adamax"):
            raise ValueError(f"optimiser must be 'adamw' or 'adamax', got {self.optimiser!r}")

    def rate(self, step: int) -> float:
        """Return the learning rate in a step: a linear rise, then a cosine."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))

    def make_optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of the model's parameters, without weight decay."""
        if self.optimiser == "adamax":
            return torch.optim.Adamax(model.parameters(), lr=self.lr)
        return torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=0.0)


def recipe_for(kind: str, **given: Any) -> Recipe:
    """Return the recipe of a kind of model with some settings given; None stands for the default.

    >>> recipe_for("glow", steps=100).optimiser
    'adamax'
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    chosen.setdefault("validate_every", max(whole("steps", given["steps"]) // 20, 1))
    return Recipe(**{**family(kind).recipe, **chosen})
