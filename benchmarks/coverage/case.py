"""What the coverage run is made of: a model, data for it, and its losses."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]  # every tensor has one row per sample
I, O = 6, 4  # input and output features of small cases


class Model(NamedTuple):
    """One model of a case, with all that is needed to run it."""

    module: nn.Module
    draw: Callable[[int], Batch]  # N -> random data of N samples
    losses: Callable[[Batch], Tensor]  # batch -> (N,)
    precise: bool = True  # False where float64 would turn off what the case is about


class Case(NamedTuple):
    """One row of the table; ``make`` builds its model anew, with random weights."""

    family: str
    name: str
    make: Callable[[], Model]


def alone(batch: Batch) -> Iterator[Batch]:
    """Yield every sample as a batch of its own."""
    for n in range(len(next(iter(batch.values())))):
        yield {key: value[n : n + 1] for key, value in batch.items()}


def converted(batch: Batch, dtype: torch.dtype) -> Batch:
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}


def convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert real tensors to ``dtype`` and complex ones to its complex counterpart."""

    def converted_tensor(t: Tensor) -> Tensor:
        if t.is_complex():
            return t.to(dtype.to_complex())
        return t.to(dtype) if t.is_floating_point() else t

    module._apply(converted_tensor)


def squares(output: Tensor) -> Tensor:
    """Reduce an output (N, ...) to losses (N,) whose gradients differ everywhere."""
    return output.abs().flatten(1).pow(3).sum(1)


def on_vectors(
    module: nn.Module, *shape: int, output: Callable[[Tensor], Tensor] | None = None
) -> Model:
    """Return a model on normal random data ``x`` (N, *shape), whose output has samples first."""
    call = module if output is None else output
    return Model(module, lambda n: {"x": torch.randn(n, *shape)}, lambda b: squares(call(b["x"])))
