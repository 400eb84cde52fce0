"""Matrix products: each row's outer product goes to its sample.

Y = A B. If B is the parameter, row r of Y gives a_r g_r^T; if A is, column r gives g_r b_r^T.
"""

import itertools

from torch import Tensor

from fimetric.gradients.contributions import Blocks, Contribution, Factors, Stack
from fimetric.gradients.layout import Axis, Ragged, owner_of_rows
from fimetric.gradients.rules.tapped import Tapped, broadcast, times


def mm(tap: Tapped) -> Contribution | None:
    """``torch.mm`` (A (R, K), B (K, P)), and ``F.linear`` without bias."""
    node = tap.node
    return _product(tap, node._saved_self, node._saved_mat2, first=tap.input == 0)


def addmm(tap: Tapped) -> Contribution | None:
    """``torch.addmm`` (C, A, B) = beta C + alpha A B, and ``F.linear`` with bias."""
    node = tap.node
    if tap.input == 0:
        return broadcast(times(tap.gradient, node._saved_beta), tap.layout, tap.shape)
    product = _product(tap, node._saved_mat1, node._saved_mat2, first=tap.input == 1)
    if product is None or node._saved_alpha == 1:
        return product
    return Factors(times(product.u, node._saved_alpha), product.v)


def bmm(tap: Tapped) -> Contribution | None:
    """``torch.bmm`` A (B, M, K), B (B, K, P), of a parameter that all samples share."""
    g, layout = tap.gradient, tap.layout
    if not isinstance(layout, Axis) or layout.dim != 2 - tap.input or g.is_complex():
        return None
    u, v = (g, tap.node._saved_mat2) if tap.input == 0 else (tap.node._saved_self, g)
    factors = Factors(_per_matrix(layout.split(u)), _per_matrix(layout.split(v)))
    return Blocks(factors, layout.samples, tap.shape)


def grouped_mm(tap: Tapped) -> Contribution | None:
    """``F.grouped_mm`` of rows sorted by expert, A (R, K), and a matrix each, B (E, K, P)."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    if tap.input != 1 or len(tap.shape) != 3 or g.dim() != 2 or node._saved_offs is None:
        return None
    if not isinstance(layout, Axis) or layout.dim != 0:
        return None
    a, owner = node._saved_self, owner_of_rows(layout, len(g)).to(g.device)
    ends = [0, *node._saved_offs.tolist()]
    experts = []
    for start, end in itertools.pairwise(ends):
        rows = Ragged(0, layout.samples, owner[start:end])
        experts.append(Factors(rows.split(a[start:end]), rows.split(g[start:end])))
    return Stack(experts)


def _per_matrix(x: Tensor) -> Tensor:
    """(N, T, B, P) -> (N * B, T, P)."""
    return x.transpose(1, 2).flatten(0, 1)


def _product(tap: Tapped, a: Tensor, b: Tensor, first: bool) -> Factors | None:
    g, layout = tap.gradient, tap.layout
    if not isinstance(layout, Axis) or layout.dim != int(first) or g.is_complex():
        return None
    if first:
        return Factors(layout.split(g), layout.split(b))
    return Factors(layout.split(a), layout.split(g))
