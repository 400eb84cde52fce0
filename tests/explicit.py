"""Losses of small models, in float64, and the gradients of all samples written out.

A case takes the names of docs/gradients.md and returns a model with the losses of some samples.
"""

import torch
from torch import nn


def gradients(model, losses):
    """Return the gradients (N, P) by one backward pass per sample."""
    parameters = list(model.parameters())
    rows = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
    return torch.stack([flat(row) for row in rows])


def flat(tensors):
    return torch.cat([x.flatten() for x in tensors])


def convolutional():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 10))


class Tied(nn.Module):
    """An embedding that is also the head, as language models have it."""

    def __init__(self):
        super().__init__()
        self.embedding, self.inner = nn.Embedding(7, 5), nn.Linear(5, 5)
        self.head = nn.Linear(5, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(self.inner(self.embedding(ids)).tanh())


def of_images(names):
    model = convolutional().double()
    return model, names["losses_of"](model, range(12))


def of_texts(_):
    model, ids = Tied().double(), torch.randint(7, (6, 9))
    logits = model(ids[:, :-1]).transpose(1, 2)
    return model, nn.functional.cross_entropy(logits, ids[:, 1:], reduction="none").sum(1)


def of_as_many_samples_as_features(_):
    model = nn.Linear(10, 10).double()
    return model, model(torch.randn(10, 10).double()).square().sum(1)


def of_samples_without_gradient(names):
    model, losses = of_images(names)
    weights = torch.ones(12).double()
    weights[[0, 5, 11]] = 0
    return model, weights * losses


def of_one_sample(names):
    model = convolutional().double()
    return model, names["losses_of"](model, [3])


CASES = [
    of_images,
    of_texts,
    of_as_many_samples_as_features,
    of_samples_without_gradient,
    of_one_sample,
]
