"""Lookups along the samples' own axis: which row is whose follows from the indices of this batch.

A mixture of experts sorts tokens by expert and puts them back; a classifier takes the last token of
each text. A row of the input belongs to the sample of each row that was looked up there; where two
samples look up one row, this tells nothing.
"""

import torch
from torch import Tensor

from fimetric.gradients.axes.base import Rule, Use
from fimetric.gradients.layout import Axis, owner_of_rows, rows_of
from fimetric.gradients.writing import WRITING, places, shows_places


def index(use: Use) -> Axis | None:
    """``x[i, j]``: the indices, side by side, make one or several axes of the output."""
    places = [(axis, i) for axis, i in enumerate(use.node._saved_indices) if i is not None]
    expanded = _expanded(places)
    made = expanded[0][1].dim()
    adjacent = [axis for axis, _ in expanded] == list(range(expanded[0][0], expanded[-1][0] + 1))
    first = expanded[0][0] if adjacent else 0
    if not first <= use.dim < first + made:
        return None
    shape = [1] * made
    shape[use.dim - first] = -1
    owner = _owner(use).view(shape).expand(expanded[0][1].shape).flatten()
    for axis, i in expanded:
        found = _looked_up(owner, i.flatten(), axis, use)
        if found is not None:
            return found
    return None


def index_select(use: Use) -> Axis | None:
    """``x.index_select(dim, index)``."""
    if use.axes()[0] != use.dim:
        return None
    return _looked_up(_owner(use), use.node._saved_index, use.dim, use)


def index_add(use: Use) -> Axis | None:
    """``x.index_add(dim, index, source)``, or copied: the index says where the source's rows go."""
    if use.input == 0:
        return use.layout
    if use.axes()[0] != use.dim or len(use.shape) != len(use.output):
        return None
    owner = _owner(use)[use.node._saved_index.cpu().reshape(-1)]
    return rows_of(owner, use.dim, use.layout.samples)


def embedding_bag(use: Use) -> Axis | None:
    """Weights of positions (L,): each belongs to the sample of its bag."""
    offsets = use.node._saved_offsets.cpu().long()
    bag = torch.searchsorted(offsets, torch.arange(use.shape[0]), right=True) - 1
    owner = _owner(use)[bag.clamp_max(use.output[0] - 1)]
    return rows_of(owner, 0, use.layout.samples) if use.dim == 0 else None


def pack_padded_sequence(use: Use) -> Axis | None:
    """Steps of sequences (T, B, ...) sorted by length: row by row those that go on."""
    if use.dim != 0:
        return None
    first = _owner(use)[: int(use.node._saved_result1[0])]
    return rows_of(first, 0 if use.node._saved_batch_first else 1, use.layout.samples)


def copy_slices(use: Use) -> Axis | None:
    """Writing into a view, which shows the place of each entry that was written."""
    found = places(use.node, use.input) if shows_places(use.node) else None
    if found is None or found.numel() != use.shape.numel():
        return None
    found = found.reshape(use.shape)  # axes of one entry may have been put before
    stride = use.output[use.dim + 1 :].numel()
    owner = _owner(use)[found.cpu() // stride % use.output[use.dim]]
    for dim in range(owner.dim()):
        rows = owner.movedim(dim, 0).unsqueeze(1).flatten(1)
        if rows.numel() and bool((rows == rows[:, :1]).all()):
            return rows_of(rows[:, 0], dim, use.layout.samples)
    return None


def _owner(use: Use) -> Tensor:
    """Return the sample of each entry of the output along the samples' axis."""
    return owner_of_rows(use.layout, use.output[use.dim]).cpu().long()


def _expanded(places: list[tuple[int, Tensor]]) -> list[tuple[int, Tensor]]:
    """Return an index of numbers for each axis, all of one shape; a mask stands for its places."""
    numbers: list[tuple[int, Tensor]] = []
    for axis, i in places:
        if i.dtype in (torch.bool, torch.uint8):
            numbers += [(axis + k, where) for k, where in enumerate(i.nonzero(as_tuple=True))]
        else:
            numbers.append((axis, i))
    together = torch.broadcast_tensors(*(i for _, i in numbers))
    return [(axis, i) for (axis, _), i in zip(numbers, together, strict=True)]


def _looked_up(owner: Tensor, places: Tensor, axis: int, use: Use) -> Axis | None:
    """Return the samples of the rows that were looked up, None where one row has several."""
    rows = owner.new_full((use.shape[axis],), -1)
    places = places.cpu() % max(1, use.shape[axis])
    rows[places] = owner
    return rows_of(rows, axis, use.layout.samples) if torch.equal(rows[places], owner) else None


BY_DATA: dict[str, Rule] = {
    WRITING: copy_slices,
    "EmbeddingBag": embedding_bag,
    "Index": index,
    "IndexAdd": index_add,
    "IndexCopy": index_add,
    "IndexSelect": index_select,
    "PackPaddedSequence": pack_padded_sequence,
}
