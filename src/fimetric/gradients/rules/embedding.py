"""Embeddings: each position's gradient goes to the row that it looked up."""

from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.contributions import Blocks, Contribution, Rows
from fimetric.gradients.graph import signed
from fimetric.gradients.layout import Axis
from fimetric.gradients.rules.tapped import Tapped

SUM, MAX = 0, 2  # modes of an embedding bag; the third is the mean


def embedding(tap: Tapped) -> Contribution | None:
    """``F.embedding``: index (...), output (..., I)."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    index = node._saved_indices
    if node._saved_scale_grad_by_freq:
        return None
    if not isinstance(layout, Axis) or layout.dim >= index.dim():
        return None
    rows, v = (layout.split(x).movedim(1, 1 + layout.dim) for x in (index, g))  # in their order
    rows, v = rows.flatten(1), v.flatten(1, -2)
    padding = node._saved_padding_idx
    if 0 <= padding < tap.shape[0]:
        v = torch.where((rows == padding).unsqueeze(2), torch.zeros_like(v), v)
    return Rows(rows, v, tap.shape[0])


def embedding_bag(tap: Tapped) -> Contribution | None:
    """``F.embedding_bag``: the bags' indices one after the other, output (bags, I)."""
    node, g, layout = tap.node, tap.gradient, tap.layout
    if tap.input != 0 or not isinstance(layout, Axis) or layout.dim != 0:
        return None
    if node._saved_mode == MAX:
        return _largest(node, g, layout, tap.shape)
    index, terms = _bags(node, g)
    return Rows(layout.split(index).flatten(1), layout.split(terms).flatten(1, 2), tap.shape[0])


def _bags(node: Any, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (bags, T) that each bag looks up, filled up, and what they get, (..., I)."""
    index, weights = node._saved_indices.long(), node._saved_per_sample_weights
    starts = node._saved_offsets.long()[: len(g)]
    ends = torch.cat([starts[1:], starts.new_tensor([len(index)])])
    longest = int((ends - starts).max())
    place = starts.unsqueeze(1) + torch.arange(longest, device=g.device)
    filled = place >= ends.unsqueeze(1)
    place = place.masked_fill(filled, 0)
    index, terms = index[place], g.unsqueeze(1).expand(-1, longest, -1)
    if node._saved_mode != SUM:
        terms = terms / node._saved_result2.view(-1, 1, 1)  # lengths without padding
    elif weights is not None:
        terms = terms * weights[place].unsqueeze(2)
    left_out = filled | (index == signed(node._saved_padding_idx))
    return index, terms.masked_fill(left_out.unsqueeze(2), 0) if left_out.any() else terms


def _largest(node: Any, g: Tensor, layout: Axis, shape: torch.Size) -> Contribution:
    """Give each entry's gradient to the largest entry of its bag, in a table of one column."""
    rows, columns = node._saved_result3.long(), torch.arange(shape[1], device=g.device)
    terms = g.masked_fill(node._saved_result2.unsqueeze(1) == 0, 0)  # empty bags
    index = layout.split(rows * shape[1] + columns).flatten(1)
    one_column = Rows(index, layout.split(terms).flatten(1).unsqueeze(2), shape.numel())
    return Blocks(one_column, layout.samples, shape)
