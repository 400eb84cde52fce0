"""Elementwise operations: one term per entry of the output, and each belongs to one sample."""

import torch

from fimetric.gradients.contributions import Contribution
from fimetric.gradients.rules.tapped import Tapped, broadcast, times


def add(tap: Tapped) -> Contribution | None:
    """``a + alpha b``."""
    terms = tap.gradient if tap.input == 0 else times(tap.gradient, tap.node._saved_alpha)
    return broadcast(terms, tap.layout, tap.shape)


def sub(tap: Tapped) -> Contribution | None:
    """``a - alpha b``."""
    terms = tap.gradient if tap.input == 0 else times(tap.gradient, -tap.node._saved_alpha)
    return broadcast(terms, tap.layout, tap.shape)


def mul(tap: Tapped) -> Contribution | None:
    """``a b``."""
    other = tap.node._saved_other if tap.input == 0 else tap.node._saved_self
    return broadcast(tap.gradient * other.conj(), tap.layout, tap.shape)


def div(tap: Tapped) -> Contribution | None:
    """``a / b``."""
    node, below = tap.node, tap.node._saved_other
    if tap.input == 0:
        terms = tap.gradient / below.conj()
    else:
        terms = -tap.gradient * (node._saved_self / below / below).conj()
    return broadcast(terms, tap.layout, tap.shape)


def where(tap: Tapped) -> Contribution | None:
    """``torch.where(condition, a, b)``."""
    zero = torch.zeros((), dtype=tap.gradient.dtype, device=tap.gradient.device)
    chosen = tap.node._saved_condition
    terms = torch.where(chosen if tap.input == 0 else ~chosen, tap.gradient, zero)
    return broadcast(terms, tap.layout, tap.shape)


def prelu(tap: Tapped) -> Contribution | None:
    """``F.prelu``: the weight arrives already shaped for broadcasting."""
    if tap.input == 0:
        return None
    x = tap.node._saved_self
    return broadcast(tap.gradient * x.clamp_max(0), tap.layout, tap.shape)


def expand(tap: Tapped) -> Contribution | None:
    """``Tensor.expand``."""
    return broadcast(tap.gradient, tap.layout, tap.shape)
