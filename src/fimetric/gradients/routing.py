"""Operations whose index tensors decide which sample an entry belongs to.

A mixture of experts sorts tokens by expert: the graph looks the same in every batch and the map
from rows to samples does not. The indices tell: while they stay as they were when the colours were
read, so do the colours.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.colouring import Colour, Uncoloured
from fimetric.gradients.graph import Graph, axis_of
from fimetric.gradients.layout import Layout

# Operation -> the attributes with its indices; those named in ALONG act along one axis only.
INDICES = {
    "EmbeddingBackward0": ["indices"],
    "EmbeddingBagBackward0": ["offset2bag"],
    "GatherBackward0": ["index"],
    "IndexAddBackward0": ["index"],
    "IndexBackward0": ["indices"],
    "IndexCopyBackward0": ["index"],
    "IndexPutBackward0": ["indices"],
    "IndexSelectBackward0": ["index"],
    "MaskedScatterBackward0": ["mask"],
    "MaskedSelectBackward0": ["mask"],
    "PackPaddedSequenceBackward0": ["batch_sizes"],
    "ScatterAddBackward0": ["index"],
    "ScatterBackward0": ["index"],
    "ScatterReduceBackward0": ["index"],
    "SegmentReduceBackward0": ["lengths", "offsets"],
    "SortBackward0": ["indices"],
    "SortBackward1": ["indices"],
    "TakeBackward0": ["index"],
    "TopkBackward0": ["indices"],
}
ALONG = {
    name
    for name in INDICES
    if name.startswith(("Gather", "IndexA", "IndexC", "IndexS", "Scatter", "Sort", "Topk"))
}

Routing = list[tuple[int, str, list[Tensor | None]]]


def read_routing(
    graph: Graph, node: int, colours: Sequence[Colour], sources: Sequence[Colour]
) -> Routing:
    """Return the index tensors of one node that move entries between samples.

    Arguments:
        graph: the graph.
        node: a node that depends on the samples.
        colours: of its outputs.
        sources: colours of its inputs. Looking up rows of a parameter moves no samples.
    """
    name = graph.name(node)
    if name not in INDICES or all(isinstance(source, Uncoloured) for source in sources):
        return []
    if name in ALONG and _keeps_samples(graph.nodes[node], colours):
        return []
    found = []
    for attribute in INDICES[name]:
        indices = _indices(graph.nodes[node], attribute)
        if name == "IndexBackward0":
            indices = _on_sample_axis(indices, sources[0])
        found.append((node, attribute, [None if i is None else i.clone() for i in indices]))
    return found


def same_routing(graph: Graph, routing: Routing) -> bool:
    """Return whether all index tensors are as they were when they were recorded."""
    for node, attribute, known in routing:
        now = _indices(graph.nodes[node], attribute)
        for before, after in zip(known, now, strict=False):
            if before is not None and (after is None or not _equal(before, after)):
                return False
    return True


def _keeps_samples(node: Any, colours: Sequence[Colour]) -> bool:
    layout = colours[0]
    if not isinstance(layout, Layout):
        return False
    return layout.dim != axis_of(node._saved_dim, len(node._input_metadata[0].shape))


def _indices(node: Any, attribute: str) -> list[Tensor | None]:
    value = getattr(node, f"_saved_{attribute}")
    return list(value) if isinstance(value, tuple | list) else [value]


def _on_sample_axis(indices: list[Tensor | None], source: Colour) -> list[Tensor | None]:
    """Keep the index along the input's sample axis; all where masks make the axes uncertain."""
    masks = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
    if masks or not isinstance(source, Layout):
        return indices
    return [i if axis == source.dim else None for axis, i in enumerate(indices)]


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a, b))
