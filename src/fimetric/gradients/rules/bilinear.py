"""Bilinear layers: y_o = x^T W_o z, whose gradient is the output gradient times x z^T."""

from fimetric.gradients.contributions import Blocks, Contribution, Factors
from fimetric.gradients.layout import Axis
from fimetric.gradients.rules.tapped import Tapped

SUMMED = 2, 3  # axes I and K: a trilinear product that sums over others is no bilinear layer


def bilinear(tap: Tapped) -> Contribution | None:
    """``F.bilinear``: rows (R, I) and (R, K), weight (O, I, K), output (R, O)."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    if tap.input != 1 or tuple(node._saved_sumdim) != SUMMED or g.is_complex():
        return None
    if not isinstance(layout, Axis) or layout.dim != 0:
        return None
    x, z = layout.split(node._saved_i1), layout.split(node._saved_i3)
    pairs = (x.unsqueeze(3) * z.unsqueeze(2)).flatten(2)
    return Blocks(Factors(layout.split(g), pairs), layout.samples, tap.shape)
