"""A random small network as text: its state while it is drawn, and the program that comes out."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint

SIZES = [1, 2, 3, 4, 5]
VOCABULARY = 6


@dataclass(frozen=True)
class State:
    """Shape of ``h``: axis ``dim`` holds ``outer`` x samples x ``inner`` rows."""

    sizes: tuple[int, ...]  # 0 stands for the axis of the samples
    dim: int = 0
    outer: int = 1
    inner: int = 1

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def axes(self) -> list[int]:
        """All axes but that of the samples."""
        return [k for k in range(self.rank) if k != self.dim]

    @property
    def plain(self) -> bool:
        """Whether each sample is one row."""
        return self.outer == self.inner == 1

    @property
    def count(self) -> int:
        """Entries of one sample."""
        total = self.outer * self.inner
        for k in self.axes:
            total *= self.sizes[k]
        return total

    def arranged(self, sizes: Sequence[int], **fields: int) -> "State":
        return replace(self, sizes=tuple(sizes), dim=list(sizes).index(0), **fields)

    def resized(self, axis: int, size: int) -> "State":
        axis %= self.rank
        return self.arranged([*self.sizes[:axis], size, *self.sizes[axis + 1 :]])

    def without(self, axis: int) -> "State":
        axis %= self.rank
        return self.arranged([*self.sizes[:axis], *self.sizes[axis + 1 :]])


class Scale(torch.autograd.Function):
    """A product whose backward pass is written by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return g * weight, (g * x).sum_to_size(weight.shape)


def bumps(*shape: int) -> Tensor:
    """Return fixed numbers that keep what a layer normalises from being constant."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).cos().view(shape)


def put(h: Tensor, row: Any, column: Any, value: Tensor) -> Tensor:
    """Multiply a part of (N, K, K) by ``value``, in place."""
    h = h.clone()
    h[:, row, column] *= value
    return h


NAMESPACE = {
    "torch": torch,
    "F": F,
    "checkpoint": checkpoint,
    "Scale": Scale,
    "bumps": bumps,
    "put": put,
    "turned": lambda h: h.transpose(0, 1),
    "zeros": lambda h: h.new_zeros(1, len(h), h.shape[2]),
}


@dataclass(frozen=True)
class Program:
    """A network as text, with the shapes of its parameters and of one sample."""

    lines: tuple[str, ...]
    parameters: dict[str, tuple[tuple[int, ...], str]]  # name -> shape, kind of values
    sizes: tuple[int, ...]
    tokens: bool
    samples: int
    group: int
    data: str
    seed: int

    @property
    def source(self) -> str:
        body = "\n".join(self.lines)
        return f"def losses(x, switch=False):\n{textwrap.indent(body, '    ')}\n"

    def __repr__(self) -> str:
        made = "\n".join(f"{k} = {kind}{shape}" for k, (shape, kind) in self.parameters.items())
        x = f"x: {self.data} {'tokens' if self.tokens else 'numbers'} {(self.samples, *self.sizes)}"
        return f"\n# {x}, groups of {self.group}, seed {self.seed}\n{made}\n{self.source}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def make_parameters(self, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        made = {}
        for name, (shape, kind) in self.parameters.items():
            values = torch.randn(shape, generator=generator, dtype=torch.float64) * 0.6
            values = torch.zeros_like(values) if kind == "zeros" else values
            made[name] = values.to(dtype).requires_grad_(kind != "frozen")
        return made

    def compiled(self, parameters: dict[str, Tensor]) -> Callable[..., Tensor]:
        """Return batch, switch -> losses (N,)."""
        namespace: dict[str, Any] = {**NAMESPACE, **parameters}
        exec(self.source, namespace)
        return namespace["losses"]

    def batch(self, number: int = 0, samples: int | None = None) -> Tensor:
        """Return new data for every number."""
        samples = (self.samples if samples is None else samples) * self.group
        generator = torch.Generator().manual_seed(1000 * self.seed + number + 1)
        shape = (samples, *self.sizes)
        if self.tokens:
            return torch.randint(VOCABULARY, shape, generator=generator)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        if self.data == "zero":
            x.zero_()
        elif self.data == "partly zero":
            x[:: 2 + number % 2] = 0
        elif self.data == "sparse":
            x *= torch.rand(shape, generator=generator) < 0.3
        elif self.data == "whole":
            x.round_()
        elif self.data == "repeated":
            x[:] = x[:1].clone()
        return x


@dataclass
class Sketch:
    """A program while it is drawn."""

    draw: Callable[[st.SearchStrategy], Any]
    state: State
    parameters: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    tokens: bool = False
    favourite: int = 3  # a size that is drawn often: that of the batch

    def pick(self, choices: Sequence) -> Any:
        return self.draw(st.sampled_from(list(choices)))

    def often(self, times: int = 3) -> bool:
        """True ``times`` out of ``times`` + 1."""
        return self.draw(st.integers(0, times)) < times

    def seldom(self, times: int = 3) -> bool:
        return self.draw(st.integers(0, times)) == times

    def size(self) -> int:
        return self.pick([*SIZES, self.favourite, self.favourite])

    def parameter(self, *shape: int) -> str:
        """Return an expression of that shape, made from a new or an old parameter."""
        uses = [use for use in self._uses(shape) if use]
        name = self.pick(uses) if uses and self.seldom(1) else self._new(shape)
        return self._wrapped(name, shape) if self.seldom(3) else name

    def tokens_of_samples(self) -> str:
        """Return an expression of indices (N,), made from the data."""
        first = "x.flatten(1)[:, 0]"
        return f"{first} % 3" if self.tokens else f"(7 * {first}).abs().long() % 3"

    def order_of_samples(self) -> str:
        """Return an expression of a permutation of the samples, made from the data."""
        return "x.flatten(1)[:, 0].argsort(stable=True)"

    def _new(self, shape: tuple[int, ...]) -> str:
        name = f"p{len(self.parameters)}"
        kind = self.pick(["normal"] * 6 + ["zeros", "frozen"])
        self.parameters[name] = (shape, kind)
        return name

    def _uses(self, shape: tuple[int, ...]) -> list[str]:
        found = []
        for name, (other, _) in self.parameters.items():
            if other == shape:
                found += [name, name]
            elif len(shape) == 2 and other == shape[::-1]:
                found.append(f"{name}.T")
            elif torch.Size(other).numel() == torch.Size(shape).numel():
                found.append(f"{name}.reshape({shape})")
            elif len(other) == len(shape) and all(
                a >= b for a, b in zip(other, shape, strict=True)
            ):
                found.append(f"{name}[{', '.join(f':{n}' for n in shape)}]")
        return found

    def _wrapped(self, name: str, shape: tuple[int, ...]) -> str:
        forms = [
            "{0}.tanh()",
            "{0}.mul(0.5).exp()",
            "(2.0 * {0})",
            "({0} * {0})",
            "({0} / (1 + {0}.square().sum()))",
            "{0}.detach()",
            "({0} + {1})",
            "({0} * {2})",
        ]
        if len(shape) == 2:
            forms += ["torch.tril({0})", "({0} - {0}.mean(1, keepdim=True))"]
        if len(shape) == 1:
            forms += ["{0}.softmax(0)", "{0}.cumsum(0)"]
        form = self.pick(forms)
        other = self.parameter(*shape) if "{1}" in form else ""
        scalar = self.parameter() if "{2}" in form else ""
        return form.format(name, other, scalar)
