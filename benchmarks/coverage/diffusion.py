"""How a tiny denoiser of diffusers is described: its sizes and its inputs."""

from collections.abc import Callable, Mapping
from inspect import signature
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from case import Batch, Model, squares
from torch import Tensor, nn

Draw = Callable[[int], Tensor]  # N -> tensor with N rows


class Denoiser(NamedTuple):
    """Arguments of a model's constructor and of its call."""

    options: dict[str, Any]
    inputs: dict[str, Draw]  # what differs between samples
    fixed: Mapping[str, Any] = MappingProxyType({})  # what does not; functions are called with N
    named: str = ""  # the class, where it is not the row
    lists: tuple[str, ...] = ()  # inputs that go in as a list with one tensor per sample


def normal(*shape: int) -> Draw:
    return lambda n: torch.randn(n, *shape)


def steps(n: int) -> Tensor:
    return torch.randint(1, 900, (n,))


def times(n: int) -> Tensor:
    return torch.rand(n)


def integers(high: int, *shape: int) -> Draw:
    return lambda n: torch.randint(high, (n, *shape))


def ones(*shape: int, dtype: torch.dtype = torch.long) -> Draw:
    return lambda n: torch.ones(n, *shape, dtype=dtype)


def denoiser(name: str, what: Denoiser) -> Model:
    """Build the model; its loss is a power sum of its first output."""
    import diffusers

    kind = getattr(diffusers, what.named or name, None) or getattr(diffusers.models, name)
    module = kind(**what.options).eval()
    _initialise(module)
    returned = (
        {"return_dict": False} if "return_dict" in signature(module.forward).parameters else {}
    )

    def draw(n: int) -> Batch:
        return {key: make(n) for key, make in what.inputs.items()}

    def losses(batch: Batch) -> Tensor:
        n = len(next(iter(batch.values())))
        fixed = {k: v(n) if callable(v) else v for k, v in what.fixed.items()}
        inputs = _nested(batch)
        inputs.update({key: list(inputs[key]) for key in what.lists})
        output = module(**inputs, **fixed, **returned)
        return sum(map(squares, _predictions(output, by_sample=bool(what.lists))))

    return Model(module, draw, losses)


def _initialise(module: nn.Module) -> None:
    """Start away from zero, where many last layers and gates begin and gradients vanish."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn_like(parameter)
            if parameter.dim() > 1:
                parameter.copy_(noise * parameter.shape[1:].numel() ** -0.5)
            else:
                parameter.add_(noise, alpha=0.1)


def _nested(batch: Batch) -> dict[str, Any]:
    """Turn a key ``group.name`` into an entry of the argument ``group``, a dict."""
    arguments: dict[str, Any] = {}
    for key, value in batch.items():
        group, _, name = key.rpartition(".")
        (arguments.setdefault(group, {}) if group else arguments)[name] = value
    return arguments


def _predictions(output: Any, by_sample: bool) -> list[Tensor]:
    """Return the first output: one tensor, one per sample, or one for each of several blocks."""
    while isinstance(output, tuple):
        output = output[0]
    if isinstance(output, Tensor):
        return [output]
    return [torch.stack(output)] if by_sample else output
