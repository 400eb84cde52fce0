"""Matrix products: each row's outer product goes to its sample.

Y = A B. If B is the parameter, row r of Y gives a_r g_r^T; if A is, column r gives g_r b_r^T.
"""

from torch import Tensor

from fimetric.gradients.contributions import Contribution, Dense, Factors
from fimetric.gradients.layout import Layout
from fimetric.gradients.rules.tapped import Tapped, broadcast


def mm(tap: Tapped) -> Contribution | None:
    """``torch.mm`` (A (R, K), B (K, P)), and ``F.linear`` without bias."""
    node = tap.node
    return _product(tap, node._saved_self, node._saved_mat2, first=tap.input == 0)


def addmm(tap: Tapped) -> Contribution | None:
    """``torch.addmm`` (C, A, B) = beta C + alpha A B, and ``F.linear`` with bias."""
    node = tap.node
    if tap.input == 0:
        return broadcast(_times(tap.gradient, node._saved_beta), tap.layout, tap.shape)
    product = _product(tap, node._saved_mat1, node._saved_mat2, first=tap.input == 1)
    if product is None or node._saved_alpha == 1:
        return product
    return Factors(_times(product.u, node._saved_alpha), product.v)


def bmm(tap: Tapped) -> Contribution | None:
    """``torch.bmm`` of a parameter (B, ., .) that all samples share; the samples lie in rows."""
    g, layout = tap.gradient, tap.layout
    other = tap.node._saved_self if tap.input == 1 else tap.node._saved_mat2
    row = 1 if tap.input == 1 else 2  # the axis of g that is summed over
    if not isinstance(layout, Layout) or layout.dim != row or other.is_complex():
        return None
    g_rows = layout.split(g)  # (N, T, B, .)
    other_rows = layout.split(other if row == 1 else other.transpose(1, 2).contiguous())
    if tap.input == 1:
        return Dense(_batched(other_rows, g_rows))
    other_rows = Layout(2, layout.outer, layout.samples, layout.inner).split(other)
    return Dense(_batched(g_rows, other_rows))


def _batched(u: Tensor, v: Tensor) -> Tensor:
    """sum_t u (N, T, B, P) v (N, T, B, Q) -> (N, B, P, Q)."""
    return u.permute(0, 2, 3, 1) @ v.permute(0, 2, 1, 3)


def _product(tap: Tapped, a: Tensor, b: Tensor, first: bool) -> Factors | None:
    g, layout = tap.gradient, tap.layout
    if not isinstance(layout, Layout) or layout.dim != int(first) or g.is_complex():
        return None
    if first:
        return Factors(layout.split(g), layout.split(b))
    return Factors(layout.split(a), layout.split(g))


def _times(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor
