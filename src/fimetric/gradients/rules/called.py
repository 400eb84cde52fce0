"""The exact answer where there is no rule: call the node with one sample's gradient at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Dense, squared_norms, widened
from fimetric.gradients.rules.tapped import Tapped


def called(tap: Tapped, measure: bool) -> Contribution:
    """Call the node once per sample.

    Arguments:
        tap: the use of the parameter.
        measure: whether to measure as well how large the result would be if nothing cancelled.
    """
    values = _call(tap, tap.gradients)
    if not measure:
        return Dense(values)
    (scale,) = scales_without_cancelling(lambda g: [_call(tap, g)], tap.gradients)
    return Dense(values, scale)


def _call(tap: Tapped, gradients: Sequence[Tensor | None]) -> Tensor:
    results = []
    for n in range(tap.samples):
        own = [
            g if g is None or layout is None else layout.only(g, n)
            for g, layout in zip(gradients, tap.layouts, strict=True)
        ]
        results.append(widened(tap.pull(own)))
    return torch.stack(results)


def scales_without_cancelling(
    linear: Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]],
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return, per output of a linear map, the largest norm over a few random choices of signs.

    Arguments:
        linear: from gradients to tensors (N, ...), None for an output that is not used.
        gradients: what the map is applied to.

    Returns:
        One (N,) per output.
    """
    generator = torch.Generator().manual_seed(0)

    def flipped(g: Tensor | None) -> Tensor | None:
        if g is None:
            return None
        return g * (torch.randint(2, g.shape, generator=generator) * 2 - 1).to(g)

    draws = [linear([flipped(g) for g in gradients]) for _ in range(4)]
    return [
        None
        if outputs[0] is None
        else torch.stack([squared_norms(x) for x in outputs if x is not None]).amax(0).sqrt()
        for outputs in zip(*draws, strict=True)
    ]
