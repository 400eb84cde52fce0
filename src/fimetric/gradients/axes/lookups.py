"""Lookups: data choose entries along some axes, and leave the samples' own alone."""

import torch

from fimetric.gradients.axes.base import Found, Rule, Shared, Use, kept, same


def embedding(use: Use) -> Found:
    """Rows of one table for all samples."""
    return Shared.CONTRACTED if use.dim < len(use.output) - 1 else None


def gather(use: Use) -> Found:
    """Entries along an axis; scattering writes some, where the others keep what they had."""
    return kept(use, use.axes())


def index(use: Use) -> Found:
    """``x[:, i, j]``: what the indices choose from takes the place of their axes."""
    dim = _source_axis(use.node._saved_indices, use.dim, use.output, use.shape)
    if dim is None or use.shape[dim] != use.output[use.dim]:
        return None
    return use.at(dim)


def index_put(use: Use) -> Found:
    """``x[i] = value``: what is written over has no gradient, the rest stays as it is."""
    return same(use) if use.input == 0 else None


def copy_slices(use: Use) -> Found:
    """Writing into a view: what is written over has no gradient; it is not known which view."""
    return same(use) if use.input == 0 else None


def _source_axis(
    indices: list[torch.Tensor | None], dim: int, output: torch.Size, shape: torch.Size
) -> int | None:
    """Return the axis of the input that becomes axis ``dim``, None where indices make it."""
    chosen = [k for k, i in enumerate(indices) if i is not None]
    if any(i.dtype in (torch.bool, torch.uint8) for i in indices if i is not None):
        return None
    made = len(output) - len(shape) + len(chosen)  # axes of the indices
    adjacent = chosen == list(range(chosen[0], chosen[0] + len(chosen)))
    first = chosen[0] if adjacent else 0
    if first <= dim < first + made:
        return None
    others = [k for k in range(len(shape)) if k not in chosen]
    return others[dim if dim < first else dim - made]


LOOKUPS: dict[str, Rule] = {
    "CopySlices": copy_slices,
    "Embedding": embedding,
    "Index": index,
    "IndexPut": index_put,
    **dict.fromkeys(
        (
            *("Gather", "IndexAdd", "IndexCopy", "IndexFill", "IndexSelect"),
            *("Scatter", "ScatterAdd"),
        ),
        gather,
    ),
}
