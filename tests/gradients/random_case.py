"""A random program with its parameters, compared with the loop that runs every sample alone."""

import torch
from hypothesis import assume
from random_program import Program
from torch import Tensor

from fimetric.gradients import GradientNorms
from fimetric.gradients.reference import gradients_one_by_one, squared_gradient_norms

RTOL = 1e-9
FLOOR = 1e-24  # squared norms that far below the largest are rounding noise of what lies above


class Case:
    """A program ready to be run.

    Arguments:
        strided: whether a group are samples that lie apart rather than neighbours.
    """

    def __init__(
        self, program: Program, named: dict[str, Tensor] | None = None, strided: bool = False
    ) -> None:
        self.program, self.strided = program, strided
        self.named = program.make_parameters() if named is None else named
        self.trained = [p for p in self.named.values() if p.requires_grad]
        self.losses = program.compiled(self.named)
        assume(self.trained)

    def train(self) -> None:
        """Move all parameters, zeros among them."""
        generator = torch.Generator().manual_seed(self.program.seed)
        with torch.no_grad():
            for p in self.trained:
                p += 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64)

    def grouped(self, batch: Tensor, switch: bool = False) -> Tensor:
        k, losses = self.program.group, self.losses(batch, switch)
        return losses.view(k, -1).sum(0) if self.strided else losses.view(-1, k).sum(1)

    def expected(self, batch: Tensor, switch: bool = False) -> Tensor:
        k = self.program.group
        groups = len(batch) // k
        parts = [batch[g::groups] for g in range(groups)] if self.strided else batch.split(k)
        return squared_gradient_norms(lambda x: self.losses(x, switch), parts, self.trained)

    def check(self, norms: GradientNorms, batch: Tensor, switch: bool = False) -> None:
        """Compare with the loop."""
        self.assume_usable(batch, switch)
        expected = self.expected(batch, switch)
        table = norms(self.grouped(batch, switch))
        excess = (table - expected).abs() - RTOL * expected - FLOOR * expected.max()
        if (excess <= 0).all():
            return
        excess -= GradientNorms(self.named.items()).measure(self.grouped(batch, switch)).bound
        if (excess > 0).any() and self.is_steady(batch, expected, switch):
            raise AssertionError(f"batch of {len(batch)}, {switch=}:\n{table}\nloop:\n{expected}")

    def assume_usable(self, batch: Tensor, switch: bool = False) -> None:
        """The losses must lead to a parameter, and the gradients be finite."""
        losses = self.losses(batch, switch)
        assume(losses.grad_fn is not None)
        found = torch.autograd.grad(losses.sum(), self.trained, allow_unused=True)
        assume(any(g is not None for g in found))
        assume(all(g is None or g.isfinite().all() for g in found))

    def is_steady(self, batch: Tensor, expected: Tensor, switch: bool) -> bool:
        """Return whether the loop's answer survives a rounding unit: if not, it is no oracle."""
        others = [self.together(batch, switch)]
        if batch.is_floating_point():
            moved = batch * (1 + 4e-16 * torch.randn_like(batch))
            others.append(self.expected(moved, switch))
        limit = 1e-2 * (RTOL * expected + FLOOR * expected.max())
        return all(((other - expected).abs() <= limit).all() for other in others)

    def together(self, batch: Tensor, switch: bool) -> Tensor:
        """The table by one backward pass per sample of the whole batch's graph."""
        found = gradients_one_by_one(self.grouped(batch, switch), self.trained)
        count = len(batch) // self.program.group
        columns = [torch.zeros(count, 1) if g is None else g.reshape(count, -1) for g in found]
        return torch.stack([c.double().square().sum(1) for c in columns], 1)
