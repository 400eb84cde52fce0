"""Models whose Fisher matrix is known in closed form."""

import torch
from torch import nn

from fimetric.objectives import Objective


class LikelihoodOf(Objective):
    """An exact negative log likelihood, so named."""

    kind = "likelihood"


def linear_gaussian():
    """x ~ N(0, A), y ~ N(W x + b, 1): F = E[(x, 1)(x, 1)^T] for each output, none across."""
    torch.manual_seed(3)
    model = nn.Linear(3, 2).double()
    root = torch.tensor([[1.0, 0, 0], [0.8, 0.5, 0], [0, 0.3, 2.0]], dtype=torch.float64)

    def losses(batch):
        return 0.5 * (batch["y"] - model(batch["x"])).square().sum(1)

    def draw(n, seed=0):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, 3, generator=generator, dtype=torch.float64) @ root.T
        y = model(x).detach() + torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return {"x": x, "y": y}

    moments = root @ root.T
    weight = torch.block_diag(moments, moments)  # weight.flatten() runs over inputs fastest
    F = torch.block_diag(weight, torch.eye(2, dtype=torch.float64))
    return LikelihoodOf(losses, model), draw, F.numpy()


def softmax():
    """One of five outcomes with probabilities p = softmax(theta): F = diag(p) - p p^T."""
    model = nn.Module()
    theta = torch.tensor([0.3, -1.0, 0.0, 1.2, 0.5], dtype=torch.float64)
    model.theta = nn.Parameter(theta.clone())

    def losses(x):
        chosen = torch.nn.functional.one_hot(x[:, 0].long(), 5)
        return -(chosen * torch.log_softmax(model.theta, 0)).sum(1)

    p = torch.softmax(theta, 0)

    def draw(n, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.multinomial(p, n, replacement=True, generator=generator)[:, None].double()

    return LikelihoodOf(losses, model), draw, (torch.diag(p) - torch.outer(p, p)).numpy()
