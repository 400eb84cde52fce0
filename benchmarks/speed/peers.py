"""The engine and its peers, each as a function from a batch to the table of squared norms.

A maker takes a case and its own copy of the model, and returns that function with a note on what
had to be changed in the model. What a library cannot read raises, there or in the first batch.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed.cases import Case
from benchmarks.speed.prepare import Prepared, as_is, for_backpack, for_opacus, in_training
from fimetric.gradients.reference import squared_gradient_norms

Prepare = Callable[[nn.Module], Prepared]


class WrongTableError(RuntimeError):
    """A library gave norms, but not one per sample."""


class Method(NamedTuple):
    """Squared norms (N, J) of a batch, and what was changed in the model."""

    table: Callable[[Tensor], Tensor]
    note: str = ""


def engine(case: Case, module: nn.Module) -> Method:
    norms, losses = fm.GradientNorms(module), case.losses(module)
    return Method(lambda x: norms(losses(x)))


def loop(case: Case, module: nn.Module) -> Method:
    losses, parameters = case.losses(module), list(module.parameters())
    return Method(lambda x: squared_gradient_norms(losses, x.split(1), parameters))


def vmap_of_grad(case: Case, module: nn.Module) -> Method:
    gradients = gradients_by_vmap(case, module)
    return Method(lambda x: _squares(gradients(x)))


def gradients_by_vmap(case: Case, module: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    """Return the function from a batch to all samples' gradients, (N, *shape) a parameter."""
    whole = _Whole(module, case.losses(module))
    parameters = {name: p.detach() for name, p in whole.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(whole, parameters, (x.unsqueeze(0),)).sum()

    # an objective's noise is the same for all samples
    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness="same")
    return lambda x: list(gradients(parameters, x).values())


def opacus_hooks(case: Case, module: nn.Module, prepare: Prepare = for_opacus) -> Method:
    from opacus import GradSampleModule

    prepared = prepare(module)
    GradSampleModule(module, loss_reduction="sum")  # its hooks stay with the module
    return _after_backward(case, prepared, "grad_sample")


def opacus_ghost(case: Case, module: nn.Module, prepare: Prepare = for_opacus) -> Method:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    prepared = prepare(module)
    GradSampleModuleFastGradientClipping(module, loss_reduction="sum")
    return _after_backward(case, prepared, "_norm_sample")


def backpack_norms(case: Case, module: nn.Module, prepare: Prepare = for_backpack) -> Method:
    from backpack import backpack, extend
    from backpack.extensions import BatchL2Grad

    prepared = prepare(module)
    extend(module)
    extension = BatchL2Grad()
    return _after_backward(case, prepared, "batch_l2", lambda: backpack(extension))


ENGINE, LOOP = "fimetric", "B=1 loop"
Maker = Callable[[Case, nn.Module], Method]
PEERS: dict[str, Maker] = {
    LOOP: loop,
    "vmap(grad)": vmap_of_grad,
    "Opacus hooks": opacus_hooks,
    "Opacus ghost norms": opacus_ghost,
    "BackPACK": backpack_norms,
}
METHODS = {ENGINE: engine, **PEERS}
UNPREPARED: dict[str, Maker] = {  # the same libraries on the model as it was written
    "Opacus hooks": partial(opacus_hooks, prepare=in_training),
    "Opacus ghost norms": partial(opacus_ghost, prepare=in_training),
    "BackPACK": partial(backpack_norms, prepare=as_is),
}


class _Whole(nn.Module):
    """The losses as a module, whose parameters ``functional_call`` can exchange."""

    def __init__(self, module: nn.Module, losses: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.losses = module, losses

    def forward(self, x: Tensor) -> Tensor:
        return self.losses(x)


def _squares(gradients) -> Tensor:
    """Return (N, J) of J tensors (N, ...), without a copy of any."""
    norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
    return torch.stack(norms, dim=1).square()


def _after_backward(case: Case, prepared: Prepared, field: str, during=None) -> Method:
    """Return the method of a library that leaves its result on the parameters."""
    losses, parameters = case.losses(prepared.module), prepared.parameters

    def column(name: str, parameter: nn.Parameter) -> Tensor:
        found = getattr(parameter, field, None)
        if found is None:
            kind = type(prepared.owner(name)).__name__
            raise NotImplementedError(f"no gradients of {name} ({kind})")
        setattr(parameter, field, None)
        parameter.grad = None
        if field == "grad_sample":
            return _squares([found])[:, 0]
        return found.square() if field == "_norm_sample" else found

    def table(x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            # torch warns that hooks see no gradient of the input, which nobody asks for
            warnings.simplefilter("ignore")
            if during is None:
                losses(x).sum().backward()
            else:
                with during():
                    losses(x).sum().backward()
        columns = [column(*pair) for pair in zip(prepared.names, parameters, strict=True)]
        for name, found in zip(prepared.names, columns, strict=True):
            if len(found) != len(x):
                raise WrongTableError(f"{len(found)} row for {len(x)} samples of {name}")
        return torch.stack(columns, dim=1).detach()

    return Method(table, "; ".join(prepared.notes))
