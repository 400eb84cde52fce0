"""How much of a simpler F to mix in: what makes the other half of the references most likely.

The gradients of half the references are taken for draws of Normal(0, F), with F from the other
half. Per entry of a diagonal F that is, but for constants and a half,

    S_a / F_a + log F_a,      S_a the held-out mean square

No out-of-distribution data take part. F is then made anew from both halves, which would do with
somewhat less of the simpler F than one half needed.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

SHARES = tuple(10 ** (k / 4) for k in range(-20, 1))  # from 1e-5 to 1


class Choice(NamedTuple):
    """The share of the simpler F, and the factor of the whole F."""

    share: float
    factor: float = 1.0


def choose(
    mixed: Callable[[float], Tensor], held_out: Tensor, live: Tensor, scaled: bool = False
) -> Choice:
    """Return the share under which the held-out mean squares are most likely.

    Arguments:
        mixed: share -> diagonal of F.
        held_out: mean squares of the same shape.
        live: which entries count. A weight that is masked, or an input that is always zero, has no
            gradient in either half, and says nothing on the others.
        scaled: whether F may be multiplied by a factor, which is then best at mean(S / F).
    """
    S = held_out[live].double().cpu()
    best, least = Choice(1.0), float("inf")
    for share in SHARES:
        F = mixed(share)[live].double().cpu()
        factor = float((S / F).mean()) if scaled else 1.0
        loss = float(loss_of(S, factor * F))
        if loss < least:
            best, least = Choice(share, factor), loss
    return best


def loss_of(held_out: Tensor, F: Tensor) -> Tensor:
    """Return sum_a (S_a / F_a + log F_a)."""
    return (held_out / F + F.log()).sum()


def check_share(damping: float | None) -> None:
    """Refuse a share of a simpler F that makes no sense.

    Raises:
        ValueError: where it is not from 0 to 1.
    """
    if damping is not None and not 0 <= damping <= 1:
        raise ValueError(f"damping is {damping}; it must be a share from 0 to 1, or None")


def check_halves(damping: float | None, samples: int) -> None:
    """Refuse to choose damping where there are no two halves to do so.

    Raises:
        ValueError: for fewer than two samples and no damping.
    """
    if damping is None and samples < 2:
        raise ValueError(
            f"damping is chosen by two halves of the references, and there is {samples} sample; "
            "pass more, or a damping"
        )


def check_regular(F: Tensor, name: str) -> None:
    """Raise where F has a zero and no inverse.

    Raises:
        ValueError: naming the layer.
    """
    if not (F > 0).all():
        raise ValueError(
            f"the block of F of {name!r} is singular without damping: "
            f"{int((~(F > 0)).sum())} of its {F.numel()} entries are zero. Pass a damping above 0, "
            "or None to have it chosen"
        )
