"""Operations whose backward pass people write themselves."""

from collections.abc import Callable
from typing import Any

import torch
from case import I, Model, O, on_vectors
from torch import Tensor, nn


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return g * weight, (g * x).sum(0)


class _ScaleWithContext(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return x * weight

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    backward = staticmethod(_Scale.backward)


class _Affine(torch.autograd.Function):
    """Two parameters and two outputs in one function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        return x @ weight + bias, bias.sin() * x.sum(1, keepdim=True)

    @staticmethod
    def backward(ctx: Any, g: Tensor, h: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        return g @ weight.T + (h.sum(1, keepdim=True)).expand_as(x), x.T @ g, g.sum(0)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


def own_function(function: type[torch.autograd.Function]) -> Model:
    first, last = nn.Linear(I, O), nn.Linear(O, O)
    module = nn.ModuleDict({"first": first, "last": last})
    module.register_parameter("scale", nn.Parameter(torch.randn(O)))
    return on_vectors(module, I, output=lambda x: last(function.apply(first(x), module.scale)))


def own_function_with_two_parameters() -> Model:
    module = nn.ParameterDict({"weight": torch.randn(I, O), "bias": torch.randn(O)})
    return on_vectors(
        module, I, output=lambda x: sum(_Affine.apply(x, module["weight"], module["bias"]))
    )


def quantised() -> Model:
    """Straight-through rounding of activations and of a weight."""
    module = nn.Linear(I, O)

    def output(x: Tensor) -> Tensor:
        weight = _StraightThrough.apply(module.weight * 8) / 8
        return nn.functional.linear(_StraightThrough.apply(x * 8) / 8, weight, module.bias)

    return on_vectors(module, I, output=output)


FUNCTIONS: dict[str, Callable[[], Model]] = {
    "Function": lambda: own_function(_Scale),
    "Function with setup_context": lambda: own_function(_ScaleWithContext),
    "Function of two parameters": own_function_with_two_parameters,
    "Function, straight-through rounding": quantised,
}
