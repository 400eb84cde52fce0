"""Vector-Jacobian products of all samples at once, for common operations on parameters alone.

PyTorch can batch any product (``is_grads_batched``), at some 30 microseconds an operation; a flow
has a thousand such operations, on a few numbers each. These take a fifth of that. Gradients are
(N, *shape of the output) and may come out larger than the input, along axes that were broadcast.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from fimetric.gradients.checkpoints import readable
from fimetric.gradients.graph import Graph, axis_of, metadata, signed

BatchedRule = Callable[[Any, Tensor, int, Sequence[int]], Tensor]  # node, g, input, its shape


def _add(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    return g if k == 0 or node._saved_alpha == 1 else g * node._saved_alpha


def _sub(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    return g if k == 0 else g * -node._saved_alpha


def _mul(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    return g * (node._saved_other if k == 0 else node._saved_self)


def _div(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    below = node._saved_other
    return g / below if k == 0 else -g * (node._saved_self / below / below)


def _mm(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    return g @ node._saved_mat2.T if k == 0 else node._saved_self.T @ g


def _sum(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    return g.reshape(len(g), *(1 for _ in shape)).expand(len(g), *shape)


def _transpose(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    dims = axis_of(node._saved_dim0, len(shape)), axis_of(node._saved_dim1, len(shape))
    return g.transpose(dims[0] + 1, dims[1] + 1)


def _diag_embed(node: Any, g: Tensor, k: int, shape: Sequence[int]) -> Tensor:
    size = len(shape) + 1
    dims = axis_of(node._saved_dim1, size), axis_of(node._saved_dim2, size)
    return g.diagonal(signed(node._saved_offset), dims[0] + 1, dims[1] + 1)


BATCHED: dict[str, BatchedRule] = {
    "AddBackward0": _add,
    "DiagEmbedBackward0": _diag_embed,
    "DivBackward0": _div,
    "ExpBackward0": lambda node, g, k, shape: g * node._saved_result,
    "ExpandBackward0": lambda node, g, k, shape: g,
    "LogBackward0": lambda node, g, k, shape: g / node._saved_self,
    "MmBackward0": _mm,
    "MulBackward0": _mul,
    "NegBackward0": lambda node, g, k, shape: -g,
    "SigmoidBackward0": lambda node, g, k, shape: (
        g * (node._saved_result * (1 - node._saved_result))
    ),
    "SubBackward0": _sub,
    "SumBackward0": _sum,
    "TBackward0": lambda node, g, k, shape: g.mT if len(shape) == 2 else g,
    "TanhBackward0": lambda node, g, k, shape: g * (1 - node._saved_result.square()),
    "TransposeBackward0": _transpose,
    "TrilBackward0": lambda node, g, k, shape: g.tril(signed(node._saved_diagonal)),
    "TriuBackward0": lambda node, g, k, shape: g.triu(signed(node._saved_diagonal)),
    "UnsqueezeBackward0": lambda node, g, k, shape: g.reshape(len(g), *shape),
    "ViewBackward0": lambda node, g, k, shape: g.reshape(len(g), *shape),
}


def has_rules(graph: Graph, nodes: Sequence[int]) -> bool:
    """Return whether all of some nodes are leaves or have a rule, in real numbers of one format."""
    formats = {m.dtype for node in nodes for m in metadata(graph.nodes[node])}
    known = all(node in graph.leaves or graph.name(node) in BATCHED for node in nodes)
    return known and len(formats) == 1 and not any(kind.is_complex for kind in formats)


def pull_by_rules(
    graph: Graph, nodes: Sequence[int], gradients: dict[tuple[int, int], Tensor], group: Any
) -> dict[int, Tensor]:
    """Return what arrives at the parameters.

    Arguments:
        graph: of this batch.
        nodes: of a parameter-only subgraph, each before the nodes that it leads to.
        gradients: (N, *shape) for some of their outputs.
        group: of readings, see ``checkpoints``.

    Returns:
        Number of the parameter -> (N, *shape).
    """
    arrived, found = dict(gradients), {}
    for node in nodes:
        g = arrived.pop((node, 0), None)
        if g is None:
            continue
        if node in graph.leaves:
            found[graph.leaves[node]] = g
            continue
        rule = BATCHED[graph.name(node)]
        for k, edge in enumerate(graph.edges[node]):
            if edge is not None and graph.reached[edge[0]]:
                shape = metadata(graph.nodes[edge[0]])[edge[1]].shape
                with readable(graph.nodes[node], group):
                    part = _summed_to(rule(graph.nodes[node], g, k, shape), shape)
                arrived[edge] = arrived[edge] + part if edge in arrived else part
    return found


def _summed_to(g: Tensor, shape: Sequence[int]) -> Tensor:
    """Sum over the axes along which the input was broadcast."""
    extra = g.dim() - 1 - len(shape)
    if extra:
        g = g.sum(tuple(range(1, 1 + extra)))
    broadcast = [d for d, size in enumerate(shape, 1) if size == 1 and g.shape[d] != 1]
    return g.sum(broadcast, keepdim=True) if broadcast else g
