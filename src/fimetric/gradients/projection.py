"""Random projections of the samples' gradients, which are formed only where that is cheaper.

Of a matrix G (O, I) coordinate i is a_i^T G b_i with random signs a_i (O,) and b_i (I,). In factors
this is sum_t <a_i, u_t> <b_i, v_t>, so that both sides are projected each on its own.
"""

import math
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from fimetric.gradients.contributions.base import Contribution, in_chunks, widened
from fimetric.gradients.contributions.costs import projecting_factors_is_cheaper
from fimetric.gradients.contributions.factors import Factors, Rows
from fimetric.gradients.contributions.total import Total
from fimetric.gradients.contributions.windows import Windows, flat
from fimetric.noise import fixed_noise


class Projections:
    """Takes contributions as they come, and projects all of a sample to k numbers.

    Arguments:
        named: the parameters by name.
        seed: of the signs.
        zeros: (N, k).
    """

    def __init__(self, named: Mapping[str, Tensor], seed: int, zeros: Tensor) -> None:
        self._named, self._seed, self._zeros = list(named.items()), seed, zeros
        self._found: dict[int, Tensor] = {}

    def take(self, j: int, contribution: Contribution) -> None:
        """Take the contribution to parameter ``j``, in place of one of a read that failed."""
        signs = draw_signs(self._seed, self._named[j][0], self._zeros.shape[1], self._named[j][1])
        self._found[j] = project(contribution, signs)

    def total(self) -> Tensor:
        """Return the projections of the whole gradients, (N, k)."""
        total = self._zeros
        for j in sorted(self._found):
            total = total + self._found[j]
        return total / math.sqrt(total.shape[1])


class Signs(NamedTuple):
    """Random signs for the two sides of a tensor.

    The tensor counts as a matrix with its first axis for O and all others for I; of complex entries
    the real and the imaginary parts are entries of their own.
    """

    left: Tensor  # (k, O)
    right: Tensor  # (k, I)


def draw_signs(seed: int, name: str, k: int, parameter: Tensor) -> Signs:
    """Return the signs of a parameter, told by the seed, its name and its shape alone."""
    O, I = parameter.shape[:1].numel(), parameter.shape[1:].numel()
    I = 2 * I if parameter.is_complex() else I
    like = torch.ones(1, device=parameter.device, dtype=torch.float32)
    left = fixed_noise(seed, f"left/{name}", (k, O), like, "uniform")[0]
    right = fixed_noise(seed, f"right/{name}", (k, I), like, "uniform")[0]
    return Signs(like.copysign(left - 0.5), like.copysign(right - 0.5))


def project(contribution: Contribution, signs: Signs) -> Tensor:
    """Return a_i^T G b_i for each pair of signs, (N, k), in whichever form is cheaper."""
    if isinstance(contribution, Total):
        return reduce(add, (project(part, signs) for part in contribution.parts))
    (k, O), I = signs.left.shape, signs.right.shape[1]
    if isinstance(contribution, Factors):
        T, left = contribution.positions, 1 if isinstance(contribution, Rows) else O
        if projecting_factors_is_cheaper(T, k, left, O, I):
            size = 4 * T * (2 * k + left + I)
            return in_chunks(contribution, lambda part: _by_factors(part, signs), size)
    size = 4 * (O * I + k * min(O, I))
    return in_chunks(contribution, lambda part: _by_matrix(part, signs), size)


def _by_factors(factors: Factors, signs: Signs) -> Tensor:
    return (_left(factors, signs.left) * _right(factors, signs.right)).sum(1)


def _left(factors: Factors, signs: Tensor) -> Tensor:
    """Return <a_i, u_t>, (N, T, k)."""
    return signs.T[factors.index] if isinstance(factors, Rows) else _times(factors.u, signs)


def _right(factors: Factors, signs: Tensor) -> Tensor:
    """Return <b_i, v_t>, (N, T, k), of a convolution kernel offset by kernel offset."""
    if not isinstance(factors, Windows):
        return _times(factors.v, signs)
    offsets = signs.view(len(signs), factors.shape[1], -1).unbind(2)
    pairs = zip(factors.windows(factors.x), offsets, strict=True)
    return reduce(add, (_times(flat(x).transpose(1, 2), each) for x, each in pairs))


def _times(x: Tensor, signs: Tensor) -> Tensor:
    x = widened(x)
    return x @ signs.T.to(x)


def _by_matrix(part: Contribution, signs: Signs) -> Tensor:
    """Project the longer side first."""
    G = part.dense()
    G = torch.view_as_real(G) if G.is_complex() else widened(G)
    short, long = signs
    G = G.reshape(len(G), short.shape[1], long.shape[1])
    if G.shape[1] > G.shape[2]:
        G, short, long = G.mT, long, short
    return (_times(G, long) * short.T.to(G)).sum(1)
