"""Which form of a squared norm is cheaper, in multiplications of one sample.

A choice follows from shapes and a few numbers alone, the ``Costs``: kept with what they gave, they
choose the same forms again and so give the same bits. Values of two forms differ by rounding. The
table of forms that ``make bench`` prints compares the choices with measured times.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from fimetric.gradients.precision import exact_products


@dataclass(frozen=True)
class Costs:
    """What is cheaper where, on one machine.

    Arguments:
        memory_pass: what an entry costs that is written and read again, in multiplications of a
            batched product.
        calls: what the calls cost that a Gram form makes more, likewise.
        gram: what a multiplication costs in a Gram form: its products are small, and of the pairs
            of positions one triangle is enough.
        grouped: what a convolution with a group per sample costs where PyTorch may have a fast
            kernel for it, over what windows cost that are written out.
    """

    memory_pass: float = 32.0
    calls: float = 1e6
    gram: float = 0.75
    grouped: float = 0.75


TIE = 1.25  # on large pictures, and at strides, a group per sample costs less than was measured
FIXED = Costs()  # of common processors, where bits shall not depend on a measurement
_used: ContextVar[Costs | None] = ContextVar("costs", default=None)


def used() -> Costs | None:
    """Return the costs that forms are chosen by here, None where nobody has said."""
    return _used.get()


@contextmanager
def using(costs: Costs) -> Iterator[None]:
    """Choose forms by some costs meanwhile, in this thread."""
    token = _used.set(costs)
    try:
        yield
    finally:
        _used.reset(token)


def restored(kept: Mapping[str, float] | None) -> Costs:
    """Return costs from what was kept of them; where nothing was, they were ``FIXED``."""
    return FIXED if kept is None else Costs(**kept)


def gram_is_cheaper(N: int, T: int, O: int, I: int) -> bool:
    """Return whether two T x T Gram matrices cost less than an O x I matrix of T terms."""
    c = used() or FIXED
    saved = O * I * (T + c.memory_pass) - c.gram * T * T * (O + I + c.memory_pass)
    return exact_products() and N * saved > c.calls


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
    c = used() or FIXED
    phases = math.prod(stride)  # each has a Gram matrix of its own
    P, T, K = images * math.prod(size) / phases, images * math.prod(positions), math.prod(kernel)
    gram = phases * P * P * I + T * T * (O + c.memory_pass * (4 + phases + sum(kernel)) / 2)
    return exact_products() and N * (K * O * I * (T + c.memory_pass) - gram) > c.calls


def grouped_is_fast(x: Tensor, weight: torch.Size) -> bool:
    """Return whether a convolution with a group per sample has a fast kernel.

    On CPUs oneDNN's takes output channels by eights. Elsewhere, and in float64, groups are slow.
    """
    c = used() or FIXED
    suits = weight[0] % 8 == 0 and weight[1] >= 16 and weight[2:].numel() > 1
    exists = x.dtype == torch.float32 and x.is_cpu and torch.backends.mkldnn.is_available()
    return suits and exists and c.grouped < TIE
