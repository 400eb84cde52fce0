"""The exact answer where there is no rule: call the node with one sample's gradient at a time."""

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Dense, squared_norms, widened
from fimetric.gradients.rules.tapped import Tapped


def called(tap: Tapped, measure: bool) -> Contribution:
    """Call the node once per sample.

    Arguments:
        tap: the use of the parameter.
        measure: whether to measure, by a second round with random signs, how large the result
            would be if nothing cancelled.
    """
    values = _call(tap, tap.gradients)
    if not measure:
        return Dense(values)
    return Dense(values, squared_norms(_call(tap, random_signs(tap.gradients))).sqrt())


def _call(tap: Tapped, gradients: tuple[Tensor | None, ...]) -> Tensor:
    results = []
    for n in range(tap.samples):
        own = [
            g if g is None or layout is None else layout.only(g, n)
            for g, layout in zip(gradients, tap.layouts, strict=True)
        ]
        results.append(widened(tap.pull(own)))
    return torch.stack(results)


def random_signs(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Flip the sign of every entry at random, the same way in every call."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        None
        if g is None
        else g * (torch.randint(2, g.shape, generator=generator) * 2 - 1).to(g)
        for g in gradients
    )
