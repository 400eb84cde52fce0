"""Lookups: data choose entries along some axes, and leave the samples' own alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fimetric.gradients.axes.base import Found, Rule, Shared, Use, kept, same
from fimetric.gradients.writing import WRITING


def embedding(use: Use) -> Found:
    """Rows of one table for all samples."""
    return Shared.CONTRACTED if use.dim < len(use.output) - 1 else None


def embedding_bag(use: Use) -> Found:
    """Sums of rows of one table for all samples, perhaps weighed: the data say which."""
    return Shared.CONTRACTED if use.input == 0 and use.dim == 0 else None


def pack_padded_sequence(use: Use) -> Found:
    """Rows of sequences that the data make long or short."""
    return None


def gather(use: Use) -> Found:
    """Entries along an axis; scattering writes some, where the others keep what they had."""
    return kept(use, use.axes())


def index(use: Use) -> Found:
    """``x[:, i, j]``: what the indices choose from takes the place of their axes."""
    places = _places(use.node._saved_indices, len(use.shape), len(use.output))
    for dim, place in places.items():
        if place == use.dim and use.shape[dim] == use.output[use.dim]:
            return use.at(dim)
    return None


def index_put(use: Use) -> Found:
    """``x[:, i, j] = value``: what is written over has no gradient, the rest stays as it is."""
    if use.input == 0:
        return same(use)
    place = _places(use.node._saved_indices, len(use.output), len(use.shape)).get(use.dim)
    if place is None or use.shape[place] != use.output[use.dim]:
        return None
    return use.at(place)


def copy_slices(use: Use) -> Found:
    """Writing into a view: what is written over has no gradient; it is not known which view."""
    return same(use) if use.input == 0 else None


def _places(indices: Sequence[Tensor | None], of: int, into: int) -> dict[int, int]:
    """Return where the axes without an index go, when a tensor of some axes is indexed."""
    chosen = [k for k, i in enumerate(indices) if i is not None]
    if any(i.dim() > 1 for i in indices if i is not None and i.dtype in (torch.bool, torch.uint8)):
        return {}  # a mask of several axes
    others = [k for k in range(of) if k not in chosen]
    made = into - len(others)  # axes of the indices
    adjacent = chosen == list(range(chosen[0], chosen[0] + len(chosen)))
    first = chosen[0] if adjacent else 0
    return {dim: k if k < first else k + made for k, dim in enumerate(others)}


LOOKUPS: dict[str, Rule] = {
    WRITING: copy_slices,
    "Embedding": embedding,
    "EmbeddingBag": embedding_bag,
    "Index": index,
    "IndexPut": index_put,
    "PackPaddedSequence": pack_padded_sequence,
    **dict.fromkeys(
        (
            *("Gather", "IndexAdd", "IndexCopy", "IndexFill", "IndexSelect"),
            *("Scatter", "ScatterAdd"),
        ),
        gather,
    ),
}
