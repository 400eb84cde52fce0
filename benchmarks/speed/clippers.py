"""The engine and its peers as clippers: sum_n c_n g_n, c_n = min(1, C / |g_n|), of a batch.

A maker takes a case, its own copy of the model and C. None adds noise. Ghost clipping needs the
norms alone, and backpropagates a second time, with factors on the losses. Book-keeping keeps what
makes up the gradients until the norms are known.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed.cases import Case
from benchmarks.speed.peers import ENGINE, LOOP, gradients_by_vmap
from benchmarks.speed.prepare import for_opacus


class Clipper(NamedTuple):
    """A function from a batch to the sum, a tensor a parameter, and what the model needed."""

    sums: Callable[[Tensor], Sequence[Tensor]]
    note: str = ""


def factors(lengths: Tensor, C: float) -> Tensor:
    return (C / lengths).clamp(max=1)


def ghost(case: Case, module: nn.Module, C: float) -> Clipper:
    losses_of, norms = case.losses(module), fm.GradientNorms(module)
    parameters = list(module.parameters())

    def sums(x: Tensor) -> Sequence[Tensor]:
        losses = losses_of(x)
        lengths = norms(losses, retain_graph=True).sum(1).sqrt()
        return torch.autograd.grad((factors(lengths, C) * losses).sum(), parameters)

    return Clipper(sums)


def bookkeeping(case: Case, module: nn.Module, C: float) -> Clipper:
    losses_of, norms = case.losses(module), fm.GradientNorms(module)

    def sums(x: Tensor) -> Sequence[Tensor]:
        parts = dict(norms.contributions(losses_of(x)))
        squares = torch.stack([part.squared_norms() for part in parts.values()])
        scales = factors(squares.sum(0).sqrt(), C)
        return [torch.tensordot(scales, part.dense(), 1) for part in parts.values()]

    return Clipper(sums)


def loop(case: Case, module: nn.Module, C: float) -> Clipper:
    losses_of, parameters = case.losses(module), list(module.parameters())

    def sums(x: Tensor) -> Sequence[Tensor]:
        total = [torch.zeros_like(p) for p in parameters]
        for one in x.split(1):
            gradients = torch.autograd.grad(losses_of(one).sum(), parameters)
            length = torch.stack([g.norm() for g in gradients]).norm()
            torch._foreach_add_(total, torch._foreach_mul(gradients, factors(length, C)))
        return total

    return Clipper(sums)


def vmap_of_grad(case: Case, module: nn.Module, C: float) -> Clipper:
    gradients_of = gradients_by_vmap(case, module)

    def sums(x: Tensor) -> Sequence[Tensor]:
        gradients = gradients_of(x)
        lengths = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        return [torch.tensordot(factors(lengths, C), g, 1) for g in gradients]

    return Clipper(sums)


def opacus_hooks(case: Case, module: nn.Module, C: float) -> Clipper:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    prepared = for_opacus(module)
    GradSampleModule(module, loss_reduction="sum")  # its hooks stay with the module
    optimizer, losses_of = _without_noise(DPOptimizer, module, C), case.losses(prepared.module)

    def sums(x: Tensor) -> Sequence[Tensor]:
        losses_of(x).sum().backward()
        optimizer.clip_and_accumulate()
        found = [p.summed_grad for p in prepared.parameters]
        optimizer.zero_grad(set_to_none=True)  # gradients of all samples, too
        return found

    return Clipper(sums, "; ".join(prepared.notes))


def opacus_ghost(case: Case, module: nn.Module, C: float) -> Clipper:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

    prepared = for_opacus(module)
    hooks = GradSampleModuleFastGradientClipping(module, max_grad_norm=C, loss_reduction="sum")
    optimizer = _without_noise(DPOptimizerFastGradientClipping, module, C)
    losses_of = case.losses(prepared.module)

    def sums(x: Tensor) -> Sequence[Tensor]:
        optimizer.zero_grad(set_to_none=True)
        DPTensorFastGradientClipping(hooks, optimizer, losses_of(x), "sum").backward()
        return [p.grad for p in prepared.parameters]

    return Clipper(sums, "; ".join(prepared.notes))


def _without_noise(kind: type, module: nn.Module, C: float):
    return kind(
        torch.optim.SGD(module.parameters(), lr=0.0),
        noise_multiplier=0.0,
        max_grad_norm=C,
        expected_batch_size=None,
        loss_reduction="sum",
    )


Maker = Callable[[Case, nn.Module, float], Clipper]
GHOST, BOOKKEEPING = f"{ENGINE}, ghost clipping", f"{ENGINE}, book-keeping"
CLIPPERS: dict[str, Maker] = {
    GHOST: ghost,
    BOOKKEEPING: bookkeeping,
    LOOP: loop,
    "vmap(grad)": vmap_of_grad,
    "Opacus hooks": opacus_hooks,
    "Opacus ghost clipping": opacus_ghost,
}
