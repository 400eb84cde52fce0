"""A family in twenty lines: pixels are independent logistics, whose means and scale are learned."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from fimetric.models.discretised import discretised_logistic
from fimetric.models.family import NATS, Family, Model
from fimetric.objectives.base import Objective


@dataclass(frozen=True)
class ToyConfig:
    """A scale to begin with."""

    scale: float = -2.0


class Toy(Model):
    """Independent logistics."""

    Config, CONFIGS = ToyConfig, {"tiny": ToyConfig()}

    def __init__(self, config, shape):
        super().__init__()
        self.config, self.shape = config, shape
        self.location = nn.Parameter(torch.full(shape, 0.5))
        self.log_scale = nn.Parameter(torch.full(shape, config.scale))

    def training_losses(self, x, generator):
        return -discretised_logistic(x, self.location, self.log_scale).flatten(1).sum(1)

    def bits_per_dim(self, x, generator):
        return self.training_losses(x, generator) / (math.prod(self.shape) * math.log(2))

    @torch.no_grad()
    def sample(self, n, generator):
        unit = torch.logit(torch.rand(n, *self.shape, generator=generator), eps=1e-6)
        return ((self.location + self.log_scale.exp() * unit).clamp(0, 1) * 255).round() / 255


def _loss(model, timesteps, draws, seed):
    return Objective(lambda x: model.training_losses(x, None), model)


TOY = Family("toy", Toy, _loss, frozenset({NATS}))
