"""Embeddings: each position's gradient goes to the row that it looked up."""

import torch

from fimetric.gradients.contributions import Contribution, Rows
from fimetric.gradients.layout import Axis
from fimetric.gradients.rules.tapped import Tapped


def embedding(tap: Tapped) -> Contribution | None:
    """``F.embedding``: index (...), output (..., I)."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    index = node._saved_indices
    if node._saved_scale_grad_by_freq or node._saved_sparse:
        return None
    if not isinstance(layout, Axis) or layout.dim >= index.dim():
        return None
    rows, v = (layout.split(x).movedim(1, 1 + layout.dim) for x in (index, g))  # in their order
    rows, v = rows.flatten(1), v.flatten(1, -2)
    padding = node._saved_padding_idx
    if 0 <= padding < tap.shape[0]:
        v = torch.where((rows == padding).unsqueeze(2), torch.zeros_like(v), v)
    return Rows(rows, v, tap.shape[0])
