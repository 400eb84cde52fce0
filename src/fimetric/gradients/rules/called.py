"""The exact answer where there is no rule: call the node with one sample's gradient at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Dense, squared_norms, widened
from fimetric.gradients.rules.tapped import Tapped


def called(tap: Tapped, measure: bool) -> Contribution:
    """Call the node once per sample; what it gives for its other uses is kept for them.

    Arguments:
        tap: the use of the parameter.
        measure: whether to measure as well how large the result would be if nothing cancelled.
    """
    if "called" not in tap.scratch:
        tap.scratch["called"] = _call(tap, tap.gradients, tap.scratch["inputs"])
    values = tap.scratch["called"].pop(tap.input)
    if not measure:
        return Dense(values)
    own = {tap.input: tap.shape}
    (scale,) = scales_without_cancelling(lambda g: [_call(tap, g, own)[tap.input]], tap.gradients)
    return Dense(values, scale)


def _call(
    tap: Tapped, gradients: Sequence[Tensor | None], inputs: dict[int, torch.Size]
) -> dict[int, Tensor]:
    """Return the samples' gradients of some inputs of the node, each (N, *shape)."""
    found: dict[int, list[Tensor]] = {k: [] for k in inputs}
    like = next(g for g in gradients if g is not None)
    for n in range(tap.samples):
        own = [
            g if g is None or layout is None else layout.only(g, n)
            for g, layout in zip(gradients, tap.layouts, strict=True)
        ]
        pulled = tap.pull(own)
        for k, shape in inputs.items():
            found[k].append(_shaped(pulled[k], shape, like))
    return {k: torch.stack(column) for k, column in found.items()}


def _shaped(g: Tensor | None, shape: torch.Size, like: Tensor) -> Tensor:
    if g is None:
        return like.new_zeros(shape)
    return widened((g.to_dense() if g.is_sparse else g).sum_to_size(shape))


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
    device = next(g.device for g in gradients if g is not None)
    generator = torch.Generator(device).manual_seed(0)

    def flipped(g: Tensor | None) -> Tensor | None:
        if g is None:
            return None
        signs = torch.randint(2, g.shape, generator=generator, device=device) * 2 - 1
        return g * signs.to(g)

    draws = [linear([flipped(g) for g in gradients]) for _ in range(4)]
    return [
        None
        if outputs[0] is None
        else torch.stack([squared_norms(x) for x in outputs if x is not None]).amax(0).sqrt()
        for outputs in zip(*draws, strict=True)
    ]
