"""The autograd graph of one batch, as numbered nodes.

Nodes are numbered by a fixed walk, so that the same model on the same shapes gives the same
numbers in every batch, and what was learned about node 17 holds for node 17 of the next graph.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

COARSE = {torch.float16, torch.bfloat16}  # norms are taken of what is kept in float32


class Key:
    """A value of a thousand parts, whose hash is taken once."""

    def __init__(self, value: Hashable) -> None:
        self.value, self._hash = value, hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._hash == other._hash and self.value == other.value


@dataclass
class Graph:
    """Nodes in topological order: whatever a node leads to (its inputs) has a smaller number."""

    nodes: list[Node]
    edges: list[tuple[tuple[int, int] | None, ...]]  # per node and input: (node, output) or None
    leaves: dict[int, int]  # node number -> number of the parameter it accumulates into
    root: int  # the node that made the losses
    shape: torch.Size  # of the losses

    @cached_property
    def signature(self) -> Key:
        """What is the same for all batches of one size and length."""
        parts = tuple(map(_description, self.nodes))
        return Key((tuple(self.shape), tuple(self.edges), tuple(self.leaves.items()), parts))

    @cached_property
    def kind(self) -> Key:
        """What is the same for all batch sizes and lengths."""
        structure = tuple(map(_structure, self.nodes))
        return Key((tuple(self.edges), tuple(self.leaves.items()), structure))

    @cached_property
    def reached(self) -> list[int]:
        """Parameters below each node, as a bit mask: bit j stands for parameter j."""
        masks: list[int] = []
        for k, inputs in enumerate(self.edges):
            mask = 1 << self.leaves[k] if k in self.leaves else 0
            for edge in inputs:
                mask |= 0 if edge is None else masks[edge[0]]
            masks.append(mask)
        return masks

    @cached_property
    def python_functions(self) -> list[int]:
        """Nodes written in Python, which can hold anything."""
        kind = torch.autograd.function.BackwardCFunction
        return [k for k, node in enumerate(self.nodes) if isinstance(node, kind)]

    def name(self, node: int) -> str:
        """Return the operation's name, as in ``AddmmBackward0``."""
        return self.nodes[node].name().removeprefix("torch::autograd::")

    def shapes(self, node: int) -> list[torch.Size]:
        """Return the shapes of the node's outputs (the inputs of its backward function)."""
        return [torch.Size(m.shape) for m in metadata(self.nodes[node])]

    def outputs(self, node: int) -> list[GradientEdge]:
        """Return the edges at which the gradients of the node's outputs arrive."""
        count = len(metadata(self.nodes[node]))
        return [GradientEdge(self.nodes[node], k) for k in range(count)]


def read_graph(losses: Tensor, parameters: Sequence[Tensor]) -> Graph:
    """Walk the graph of ``losses`` (N,) down to the leaves."""
    number_of = {id(p): j for j, p in enumerate(parameters)}
    assert losses.grad_fn is not None  # checked by the caller with a message for users
    order, below = _topological_order(losses.grad_fn)
    number = {node: k for k, node in enumerate(order)}
    edges = [
        tuple([None if child is None else (number[child], output) for child, output in below[node]])
        for node in order
    ]
    leaves = {}
    for k, node in enumerate(order):
        if not below[node]:
            variable = getattr(node, "variable", None)
            if variable is not None and id(variable) in number_of:
                leaves[k] = number_of[id(variable)]
    return Graph(order, edges, leaves, number[losses.grad_fn], losses.shape)


def _topological_order(root: Node) -> tuple[list[Node], dict[Node, Sequence]]:
    """Return all nodes below ``root``, each after the nodes that it leads to, and those."""
    order: list[Node] = []
    below: dict[Node, Sequence] = {}
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif node not in below:
            below[node] = node.next_functions
            stack.append((node, True))
            stack.extend((child, False) for child, _ in below[node] if child is not None)
    return order, below


def signed(saved: int) -> int:
    """Return a number that a node has saved; negative ones come out as unsigned."""
    return saved - 2**64 if saved >= 2**63 else saved


def axis_of(saved: int, dims: int) -> int:
    """Return an axis that a node has saved, counted from the front."""
    return signed(saved) % dims


def metadata(node: Node) -> Sequence[Any]:
    """Return shape and dtype of each of the node's outputs."""
    return node._input_metadata


@dataclass
class _Kind:
    """What is known of one class of nodes.

    Attributes such as a transposition's axes tell apart graphs that look alike otherwise. Tensors
    are left out: reading one unpacks it, and its contents change with every batch. What an
    attribute is shows where it is first present.
    """

    undecided: list[str]
    is_leaf: bool
    in_python: bool
    scalars: list[str] = field(default_factory=list)
    switches: list[str] = field(default_factory=list)  # scalars that are no sizes


_kinds: dict[type, _Kind] = {}


def _description(node: Node) -> Hashable:
    """Return what tells the node from others; leaves are told by their parameters."""
    kind = _kinds.get(type(node)) or _first_seen(type(node))
    if kind.is_leaf:
        return None
    if kind.undecided:
        _decide(node, kind)
    parts: list[Hashable] = [node.name()]
    for m in metadata(node):
        parts += (tuple(m.shape), m.dtype)
    for name in kind.scalars:
        parts.append(_hashable(getattr(node, name)))
    if kind.in_python:
        parts += [(key, _hashable(x)) for key, x in vars(node).items() if is_scalar(x)]
    return tuple(parts)


def _structure(node: Node) -> Hashable:
    """Return what tells the node from others of any size."""
    known = _kinds.get(type(node))
    switches = known.switches if known is not None else []
    sizes = [(len(m.shape), m.dtype) for m in metadata(node)]
    return node.name(), *sizes, *[_hashable(getattr(node, name)) for name in switches]


def _first_seen(kind: type) -> _Kind:
    saved = [name for name in dir(kind) if name.startswith("_saved_")]
    in_python = issubclass(kind, torch.autograd.function.BackwardCFunction)
    return _kinds.setdefault(kind, _Kind(saved, kind.__name__ == "AccumulateGrad", in_python))


def _decide(node: Node, kind: _Kind) -> None:
    """Sort the attributes that are present into scalars and others."""
    for name in list(kind.undecided):
        value = getattr(node, name)
        if value is not None:
            kind.undecided.remove(name)
            if is_scalar(value):
                kind.scalars.append(name)
            if isinstance(value, bool | str) or name.startswith("_saved_dim"):
                kind.switches.append(name)


def _hashable(value: Any) -> Hashable:
    kind = type(value)
    return tuple([_hashable(x) for x in value]) if kind is tuple or kind is list else value


def is_scalar(value: object) -> bool:
    """Return whether the value, or all that it contains, can be part of a signature."""
    if isinstance(value, tuple | list):
        return all(is_scalar(item) for item in value)
    return value is None or isinstance(value, int | float | bool | str | torch.dtype)


def is_direct(graph: Graph, samples: int) -> bool:
    """Return whether autograd itself gives a single sample's gradient, with all its bits."""
    if samples != 1 or graph.python_functions or not graph.leaves:
        return False
    return not COARSE & {m.dtype for node in graph.nodes for m in metadata(node)}
