"""Operations whose index tensors decide which sample an entry belongs to.

A mixture of experts sorts tokens by expert: the graph looks the same in every batch and the map
from rows to samples does not. Where indices move rows, they tell: while they stay as they were when
the colours were read, so do the colours. Anything else through which data could move rows, such as
a product with a matrix of zeros and ones, makes the colours be read in every batch. What cannot is
listed by name, so that an operation that nobody thought of is not trusted.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.graph import Graph, axis_of
from fimetric.gradients.layout import Axis, Colour, Layout, Uncoloured
from fimetric.gradients.writing import WRITING, shows_places, written

# Operation -> the attributes with its indices; those named in ALONG act along one axis only.
INDICES = {
    WRITING: ["written"],
    "EmbeddingBackward0": ["indices"],
    "EmbeddingBagBackward0": ["offsets"],
    "GatherBackward0": ["index"],
    "IndexAddBackward0": ["index"],
    "IndexBackward0": ["indices"],
    "IndexCopyBackward0": ["index"],
    "IndexPutBackward0": ["indices"],
    "IndexSelectBackward0": ["index"],
    "MaskedScatterBackward0": ["mask"],
    "MaskedSelectBackward0": ["mask"],
    "PackPaddedSequenceBackward0": ["result1"],
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

# Elementwise operations: data pick from an operand that lacks the sample axis of the output.
POINTWISE = (
    *("Add", "Addcdiv", "Addcmul", "Atan2", "Copysign", "Div", "Fmod", "Hypot", "Lerp"),
    *("MaskedFill", "Maximum", "Minimum", "Mul", "Pow", "Remainder", "Rsub", "Sub", "Where"),
    "Xlogy",
)

# Operation -> for each input, what is summed over: along these axes a matrix can permute samples.
CONTRACTED = {
    "AddmmBackward0": (None, 1, 0),
    "AddmvBackward0": (None, 1, 0),
    "BaddbmmBackward0": (None, 2, 1),
    "BmmBackward0": (2, 1),
    "DotBackward0": (0, 0),
    "MmBackward0": (1, 0),
    "MvBackward0": (1, 0),
    "TrilinearBackward0": (1, (1, 2), 1),
}

# Operations in which no data decide where rows go; what does is in the graph's signature.
STRUCTURAL = (
    *("Abs", "Acos", "AdaptiveAvgPool", "Alias", "Amax", "Amin", "AsStrided", "Asin", "Atan"),
    *("AvgPool", "BinaryCrossEntropy", "Cat", "Cdist", "Celu", "Clamp", "Clone", "Col2Im"),
    *("ConstantPad", "Convolution", "CopyBackwards", "Cos", "Ctc", "Cudnn", "Cumprod", "Cumsum"),
    *("DiagEmbed", "Diagonal", "Elu", "Erf", "EuclideanDist", "Exp", "Fft", "Flip", "Gelu"),
    *("Glu", "GroupedMm", "Hardsigmoid"),
    *("Hardswish", "Hardtanh", "HuberLoss", "Im2Col", "KlDiv", "LeakyRelu", "Linalg", "Log"),
    *("MaxBackward", "MaxPool", "Mean", "MinBackward", "Miopen", "Mish", "Mkldnn", "MseLoss"),
    *("Native", "Neg", "NllLoss", "Norm", "Permute", "Pixel", "Prelu", "Prod", "Reciprocal"),
    *("ReflectionPad", "Relu", "Repeat", "ReplicationPad", "Reshape", "Roll", "Rsqrt", "Select"),
    *("Selu", "Sigmoid", "Silu", "Sin", "Slice", "SmoothL1", "Softmax", "Softplus", "Softshrink"),
    *("Split", "Sqrt", "Square", "Squeeze", "Stack", "Std", "Sum", "TBackward", "Tan", "Thnn"),
    *("ToCopy", "Transpose", "Tril", "Triu", "Unbind", "Unfold", "Unsafe", "Unsqueeze"),
    *("Upsample", "Var", "View", "FusedRmsNorm"),
)

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
    if name == WRITING and _keeps_formula(colours, sources):
        return []
    found = []
    for attribute in INDICES[name]:
        indices = _indices(graph.nodes[node], attribute)
        if name == "IndexBackward0":
            indices = _on_sample_axis(indices, sources[0])
        found.append((node, attribute, [None if i is None else i.clone() for i in indices]))
    return found


def may_route(
    graph: Graph, node: int, colours: Sequence[Colour], sources: Sequence[Colour]
) -> bool:
    """Return whether data other than recorded indices could move samples through the node."""
    name = graph.name(node)
    coloured = [(k, c) for k, c in enumerate(sources) if not isinstance(c, Uncoloured)]
    if name == WRITING and not shows_places(graph.nodes[node]):
        return not _keeps_formula(colours, sources)
    if not coloured or name in INDICES:
        return False
    if name in CONTRACTED:
        axes = CONTRACTED[name]
        return any(isinstance(c, Axis) and c.dim in _several(axes[k]) for k, c in coloured)
    if name.removesuffix("Backward0").removesuffix("Backward1") in POINTWISE:
        return not all(_aligned(graph, node, colours[0], k, c) for k, c in coloured)
    if name.startswith("ScaledDotProduct"):
        size = len(graph.shapes(node)[0])
        return not all(isinstance(c, Layout) and c.dim < size - 2 for _, c in coloured)
    return not name.startswith(STRUCTURAL)


def _several(axes: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return axes if isinstance(axes, tuple) else () if axes is None else (axes,)


def _aligned(graph: Graph, node: int, colour: Colour, k: int, source: Colour) -> bool:
    """Return whether an operand has the output's sample axis itself."""
    edge = graph.edges[node][k]
    if not isinstance(colour, Axis) or not isinstance(source, Axis) or edge is None:
        return isinstance(colour, Uncoloured)  # nothing arrives here in this batch
    shape, below = graph.shapes(node)[0], graph.shapes(edge[0])[edge[1]]
    dim = colour.dim - len(shape) + len(below)
    return dim == source.dim and below[dim] == shape[colour.dim]


def _same_formula(colour: Colour, source: Colour) -> bool:
    return (
        isinstance(colour, Layout)
        and isinstance(source, Layout)
        and (colour.outer, colour.inner) == (source.outer, source.inner)
    )


def _keeps_formula(colours: Sequence[Colour], sources: Sequence[Colour]) -> bool:
    coloured = (c for c in sources if not isinstance(c, Uncoloured))
    return all(_same_formula(colours[0], c) for c in coloured)


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
    if attribute == "written":
        return written(node)
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
