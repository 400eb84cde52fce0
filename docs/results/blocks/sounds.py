"""Outliers made of clips of sound (N, T), all at the loudness of their originals."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from fimetric.benchmark.variants import others

Made = Callable[[Tensor, Generator], Tensor]
LONG, SHORT = 256, 64  # values of a piece: 32 and 8 ms at 8 kHz
SMOOTHED = 8  # values of a moving mean: 1 ms
FULL = 1 << 15  # levels of 16 bits on either side, which all sounds have


def make(recipe: Made, x: Tensor, generator: Generator) -> Tensor:
    """Return outliers of clips x (N, T), of the loudness that each clip has, in 16 bits."""
    made = recipe(x, generator)
    made = made - made.mean(1, keepdim=True)
    made = made * x.square().mean(1, keepdim=True).sqrt() / _level(made)
    return (made * FULL).round().clamp(-FULL, FULL - 1) / FULL


def shuffled(x: Tensor, size: int, generator: Generator) -> Tensor:
    """Put the pieces of each clip in random order."""
    pieces = x.unflatten(1, (-1, size))
    order = torch.rand(pieces.shape[:2], generator=generator).argsort(1)
    return pieces.gather(1, order[:, :, None].expand_as(pieces)).flatten(1)


def spliced(x: Tensor, generator: Generator) -> Tensor:
    """Put the second half of another clip behind the first half."""
    first, _ = x.chunk(2, 1)
    return torch.cat([first, others(x, generator).chunk(2, 1)[1]], 1)


def tiled(x: Tensor, generator: Generator) -> Tensor:
    """Repeat the loudest piece."""
    pieces = x.unflatten(1, (-1, LONG))
    loudest = pieces.square().sum(2).argmax(1)
    return pieces[torch.arange(len(x)), loudest].repeat(1, pieces.shape[1])


def smoothed(x: Tensor, generator: Generator) -> Tensor:
    """Take a moving mean."""
    sums = torch.nn.functional.pad(x.double().cumsum(1), (SMOOTHED, 0))
    return ((sums[:, SMOOTHED:] - sums[:, :-SMOOTHED]) / SMOOTHED).to(x)


def half_silent(x: Tensor, generator: Generator) -> Tensor:
    """Silence the quieter half."""
    halves = x.unflatten(1, (2, -1))
    louder = halves.square().sum(2).argmax(1)
    kept = torch.nn.functional.one_hot(louder, 2)[:, :, None]
    return (halves * kept).flatten(1)


BROKEN: dict[str, Made] = {
    "pieces of 32 ms shuffled": lambda x, g: shuffled(x, LONG, g),
    "pieces of 8 ms shuffled": lambda x, g: shuffled(x, SHORT, g),
    "halves of two": spliced,
}
LIKELY: dict[str, Made] = {
    "loudest piece tiled": tiled,
    "smoothed": smoothed,
    "half silent": half_silent,
}


def _level(x: Tensor) -> Tensor:
    return x.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12)
