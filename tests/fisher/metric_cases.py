"""Small models with all kinds of contributions, and their gradients by the plain loop."""

import torch
import torch.nn.functional as F
from torch import nn

from fimetric.fisher.metrics import Diagonal, Kronecker, LowRank, ScaledIdentity
from fimetric.gradients.reference import gradients_one_by_one
from fimetric.objectives import Objective

METRICS = {
    "identity": ScaledIdentity,
    "diagonal": Diagonal,
    "expand": lambda **settings: Kronecker("expand", **settings),
    "reduce": lambda **settings: Kronecker("reduce", **settings),
    "ekfac": lambda **settings: Kronecker("ekfac", **settings),
    "low rank": lambda **settings: LowRank(rank=5, **settings),
}


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def perceptron():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return model, draws(23, 4)


def convolutions():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Tanh(),
        nn.ConvTranspose2d(4, 2, 2, stride=2),
    )
    return model, draws(19, 2, 6, 6)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)

    def forward(self, x):
        tokens = (x * 3.5).long() % 7
        return self.head(torch.tanh(self.table(tokens).cumsum(1)))


def tokens():
    return Tokens(), draws(17, 5).abs()


def tied():
    model = Tokens()
    model.head.weight = model.table.weight
    return model, draws(17, 5).abs()


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.randn(2, 4, dtype=torch.complex128))

    def forward(self, x):
        return torch.view_as_real(self.gain * x[:, None]).tanh()


def complex_numbers():
    return Complex(), draws(15, 4)


class Dead(nn.Module):
    """Has a bias without effect, a weight that is masked, and one that is not used."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(2, 4, 3, padding=1), nn.GroupNorm(4, 4)
        self.masked, self.unused = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(3))

    def forward(self, x):
        return torch.tanh(self.masked.tril() @ self.norm(self.conv(x)))


def dead():
    return Dead(), draws(21, 2, 8)


CASES = {
    case.__name__: case for case in (perceptron, convolutions, tokens, tied, complex_numbers, dead)
}


def build(name, kind=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = CASES[name]()
    if name != "complex_numbers":
        model, x = model.to(kind), x.to(kind)
    return squares(model), x


def squares(model):
    """Asymmetric, so that no gradient has a second moment that is round by accident."""

    def losses(x):
        y = model(x).flatten(1)
        return (y.square() + 0.3 * y.exp()).sum(1)

    return Objective(losses, model)


def gradients(objective, x):
    """Return tensor -> (N, *shape) by one backward pass per sample."""
    named = dict(objective.module.named_parameters())
    found = gradients_one_by_one(objective(x), list(named.values()))
    zeros = {name: p.detach().new_zeros(len(x), *p.shape) for name, p in named.items()}
    return {name: zeros[name] if g is None else g for name, g in zip(named, found, strict=True)}


def real(g):
    """(N, *shape) -> real (N, numel)."""
    return (torch.view_as_real(g) if g.is_complex() else g).flatten(1)


def measured(metric, objective, x):
    return metric(objective(x)).detach()


def halves(n, seed=0):
    """Return which of n samples are of the first half, as documented: a seeded permutation."""
    import numpy as np

    first = torch.zeros(n, dtype=torch.bool)
    first[np.random.default_rng(seed).permutation(n)[: n - n // 2]] = True
    return first


__all__ = ["CASES", "METRICS", "F", "build", "draws", "gradients", "halves", "measured", "real"]
