"""Which form of a squared norm is cheaper, in multiplications of one sample.

The table of forms that ``make bench`` prints compares the choices with measured times.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fimetric.gradients.precision import exact_products

PASS = 32  # an entry written and read again costs as much as this many multiplications
CALLS = 1e6  # the calls that a Gram form makes more, in multiplications
TRIANGLE = 0.75  # share of the pairs of positions that are computed


def gram_is_cheaper(N: int, T: int, O: int, I: int) -> bool:
    """Return whether two T x T Gram matrices cost less than an O x I matrix of T terms."""
    saved = O * I * (T + PASS) - TRIANGLE * T * T * (O + I + PASS)
    return exact_products() and N * saved > CALLS


def projecting_factors_is_cheaper(T: int, k: int, left: int, O: int, I: int) -> bool:
    """Return whether T pairs of vectors are projected to k numbers for less than an O x I matrix.

    Arguments:
        T: terms.
        k: numbers to a sample.
        left: entries of a left factor that are not known to be zero.
        O: rows of the matrix.
        I: its columns.
    """
    return T * k * (left + I) <= T * left * I + k * O * I


def pixel_gram_is_cheaper(
    N: int,
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
    gram = phases * P * P * I + T * T * (O + PASS * (4 + phases + sum(kernel)) / 2)
    return exact_products() and N * (K * O * I * (T + PASS) - gram) > CALLS


def grouped_is_fast(x: Tensor, weight: torch.Size) -> bool:
    """Return whether a convolution with a group per sample has a fast kernel.

    On CPUs oneDNN's takes output channels by eights. Elsewhere, and in float64, groups are slow.
    """
    suits = weight[0] % 8 == 0 and weight[1] >= 16 and weight[2:].numel() > 1
    return suits and x.dtype == torch.float32 and x.is_cpu and torch.backends.mkldnn.is_available()
