"""Which form of a squared norm is cheaper, in multiplications of one sample.

``benchmarks/rules.py`` compares the choices with measured times.
"""

import math
from collections.abc import Sequence

import torch

PASS = 32  # an entry written and read again costs as much as this many multiplications
TRIANGLE = 0.75  # share of the pairs of positions that are computed


def gram_is_cheaper(T: int, O: int, I: int) -> bool:
    """Return whether two T x T Gram matrices cost less than an O x I matrix of T terms."""
    return exact_products() and TRIANGLE * T * T * (O + I + PASS) < O * I * (T + PASS)


def pixel_gram_is_cheaper(
    images: int,
    size: Sequence[int],
    positions: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    O: int,
    I: int,
) -> bool:
    """Return whether Gram matrices over pixels cost less than one product per kernel offset."""
    phases = math.prod(stride)  # each has a Gram matrix of its own
    P, T, K = images * math.prod(size) / phases, images * math.prod(positions), math.prod(kernel)
    gram = phases * P * P * I + T * T * (O + PASS * (2 * phases + sum(kernel)))
    return exact_products() and gram < K * O * I * (T + PASS)


def exact_products() -> bool:
    """Return whether matrix products keep all bits: cancelling terms would magnify lost ones."""
    return torch.get_float32_matmul_precision() == "highest"
