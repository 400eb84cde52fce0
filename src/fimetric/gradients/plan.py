"""What to read where: the uses of all parameters in one graph, found once per graph shape.

A TAP is an edge from a node that depends on the samples to a parameter, or to a node that depends
on parameters only (a ROOT of a parameter-only subgraph: a mask times a weight, an LU product).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fimetric.gradients.axes import carry
from fimetric.gradients.colouring import colour
from fimetric.gradients.graph import Graph, axis_of, metadata
from fimetric.gradients.layout import Axis, Colour, Colours, Layout, Uncoloured
from fimetric.gradients.routing import Routing, may_route, read_routing
from fimetric.gradients.rules.batched import has_rules

Edge = tuple[int, int]  # node and number of its output


@dataclass(frozen=True)
class Tap:
    """One use: input number ``input`` of ``node`` leads to parameter ``leaf`` or to ``root``."""

    node: int
    input: int
    layouts: tuple[Axis | Colours | None, ...]
    source: Edge  # where the input comes from
    shape: torch.Size  # of the input
    leaf: int | None
    root: Edge | None
    transposed: bool  # between the operation and its target
    becomes_real: bool  # a real tensor takes part in complex arithmetic


@dataclass(frozen=True)
class Component:
    """Roots whose subgraphs share parameters."""

    roots: tuple[Edge, ...]
    parameters: tuple[int, ...]
    by_rules: tuple[int, ...] = ()  # its nodes from the roots down, if all of them have rules


@dataclass
class Plan:
    """How to read one graph shape."""

    taps: dict[int, list[Tap]] = field(default_factory=lambda: defaultdict(list))
    hooked: list[int] = field(default_factory=list)  # read while backpropagation passes them
    captured: list[int] = field(default_factory=list)  # lowest ones: read at the end
    watched: list[Edge] = field(default_factory=list)  # zero in the first batch, so uncoloured
    components: list[Component] = field(default_factory=list)
    routing: Routing = field(default_factory=list)
    volatile: bool = False  # colours must be read anew in every batch
    suspect: bool = False  # made on numbers that are not finite: never reused
    by_rules: bool = False  # rules were asked first
    looked_at: bool = False  # and left something open, which gradients have shown
    inspected: bool = False  # what enters parameter-only subgraphs was seen to hold no samples
    mixed: frozenset[int] = frozenset()  # nodes that were looked at and are sums over the samples
    formulas: dict[int, list[Layout | None]] = field(default_factory=dict)  # likely to hold again
    uses_of: dict[int, int] = field(default_factory=dict)  # parts that make up each parameter
    arriving: dict[Component, int] = field(default_factory=dict)  # uses of each subgraph
    component_of: dict[Edge, Component] = field(default_factory=dict)
    by_loop: bool = False  # the graph cannot be read: one backward pass per sample
    hidden: bool = False  # and only backward() reaches all parameters


def make_plan(
    graph: Graph,
    losses: Tensor,
    before: Plan | None = None,
    mixed: Set[int] = frozenset(),
    by_rules: bool = True,
) -> Plan:
    """Find out which entries are whose, and with it all taps.

    Arguments:
        graph: of this batch.
        losses: (N,).
        before: a plan for the same graph, whose formulas are likely to hold again.
        mixed: nodes that were looked at in graphs of this kind, and are sums over the samples.
        by_rules: whether rules are asked, and only what they leave open is looked at.
    """
    wanted = samples_or_both(graph)
    formulas = {} if before is None else before.formulas

    def probe(nodes: Sequence[int]) -> dict[int, list[Colour]]:
        return colour(graph, losses, nodes, formulas)

    plan = Plan(by_rules=by_rules and len(losses) > 1)
    if plan.by_rules:
        carried = carry(graph, losses, wanted, mixed, probe)
        colours, explained, looked_at = carried.colours, carried.explained, carried.probed
        plan.mixed = carried.sums | mixed
        explained = explained - carried.by_data
    else:
        colours = looked_at = probe(wanted)
        explained = set[int]()
    for node in _sample_nodes(graph, colours):
        _read_node(graph, node, colours, explained, plan)
    plan.volatile &= len(losses) > 1
    plan.looked_at = bool(looked_at) and len(losses) > 1
    plan.formulas = {
        node: [c if isinstance(c, Layout) and c.sure else None for c in found]
        for node, found in looked_at.items()
    }
    plan.components = _components(graph, plan)
    _count_uses(plan)
    _choose_targets(graph, plan)
    return plan


def samples_or_both(graph: Graph) -> list[int]:
    """Return the nodes that lead to parameters and may depend on the samples as well."""
    of_parameters = _parameters_only(graph)
    return [k for k in range(len(graph.nodes)) if graph.reached[k] and not of_parameters[k]]


# Their outputs are made from parameters, and yet each row belongs to the sample that asked for it.
SELECTING = ("Embedding", "Expand", "Gather", "Index", "Masked", "Repeat", "Take", "Select")


def _parameters_only(graph: Graph) -> list[bool]:
    """Mark the nodes that are certain to depend on parameters alone, whatever the batch.

    Every operand leads to a parameter, and no data chooses among rows. Colours could mistake such
    a node for samples, in a batch in which each sample happens to use other rows of it.
    """
    marks: list[bool] = []
    for node, edges in enumerate(graph.edges):
        if node in graph.leaves:
            marks.append(True)
        elif graph.name(node).startswith(SELECTING) or node == graph.root or not edges:
            marks.append(False)
        else:
            marks.append(all(edge is not None and marks[edge[0]] for edge in edges))
    return marks


def _passes_through(graph: Graph, node: int) -> bool:
    """Return whether the node only transposes a matrix or changes its number format."""
    name, edges = graph.name(node), graph.edges[node]
    if len(edges) != 1 or edges[0] is None:
        return False
    if name != "ToCopyBackward0":
        return _transposes(graph, node)
    below, output = edges[0]
    kinds = (metadata(graph.nodes[node])[0].dtype, metadata(graph.nodes[below])[output].dtype)
    return kinds[0].is_complex == kinds[1].is_complex


def _transposes(graph: Graph, node: int) -> bool:
    """Return whether the node exchanges the last two axes of a matrix, or of several."""
    name, size = graph.name(node), len(graph.shapes(node)[0])
    operation: Any = graph.nodes[node]
    if name == "PermuteBackward0":
        return size == 2 and axis_of(operation._saved_dims[0], 2) == 1
    if name != "TransposeBackward0" or size != 3:
        return size == 2 and name in ("TBackward0", "TransposeBackward0")
    return {axis_of(operation._saved_dim0, 3), axis_of(operation._saved_dim1, 3)} == {1, 2}


def kind(colours: list[Colour]) -> Uncoloured | None:
    """Return what keeps a node from being coloured, None where it depends on the samples."""
    for uncoloured in (Uncoloured.MIXED, None, Uncoloured.UNKNOWN):
        if uncoloured is None:
            if any(not isinstance(c, Uncoloured) for c in colours):
                return None
        elif uncoloured in colours:
            return uncoloured
    return Uncoloured.ABSENT


def _sample_nodes(graph: Graph, colours: dict[int, list[Colour]]) -> list[int]:
    """Return the nodes that depend on the samples, reached from the losses through such nodes."""
    active, found = {graph.root}, []
    for node in reversed(range(len(graph.nodes))):
        if node in active and node in colours and kind(colours[node]) is None:
            found.append(node)
            active.update(edge[0] for edge in graph.edges[node] if edge is not None)
    return found


def _read_node(
    graph: Graph, node: int, colours: dict[int, list[Colour]], explained: Set[int], plan: Plan
) -> None:
    layouts = tuple(None if isinstance(c, Uncoloured) else c for c in colours[node])
    plan.watched += [(node, k) for k, c in enumerate(colours[node]) if c is Uncoloured.UNKNOWN]
    sources = [
        colours[edge[0]][edge[1]] if edge is not None and edge[0] in colours else Uncoloured.ABSENT
        for edge in graph.edges[node]
    ]
    if node not in explained:
        plan.routing += read_routing(graph, node, colours[node], sources)
        plan.volatile |= may_route(graph, node, colours[node], sources)
    for position, edge in enumerate(graph.edges[node]):
        if edge is None or not graph.reached[edge[0]]:
            continue
        below = Uncoloured.MIXED if edge[0] not in colours else kind(colours[edge[0]])
        if below is Uncoloured.MIXED:
            plan.taps[node].append(_tap(graph, node, position, layouts, edge))
            plan.volatile |= any(not _is_sure(layout) for layout in layouts)
        elif below is Uncoloured.UNKNOWN:
            plan.watched += [
                (edge[0], k)
                for k, c in enumerate(colours[edge[0]])
                if c is Uncoloured.UNKNOWN and (edge[0], k) not in plan.watched
            ]


def _is_sure(layout: Axis | Colours | None) -> bool:
    return layout is None or (isinstance(layout, Axis) and layout.sure)


def _tap(graph: Graph, node: int, position: int, layouts: tuple, source: Edge) -> Tap:
    transposed, edge = False, source
    while edge[0] not in graph.leaves and _passes_through(graph, edge[0]):
        transposed ^= _transposes(graph, edge[0])
        below = graph.edges[edge[0]][0]
        assert below is not None  # _passes_through has looked
        edge = below
    leaf = graph.leaves.get(edge[0])
    input_ = metadata(graph.nodes[source[0]])[source[1]]
    complex_here = any(m.dtype.is_complex for m in metadata(graph.nodes[node]))
    return Tap(
        node,
        position,
        layouts,
        source,
        torch.Size(input_.shape),
        leaf,
        None if leaf is not None else edge,
        transposed,
        complex_here and not input_.dtype.is_complex,
    )


def _components(graph: Graph, plan: Plan) -> list[Component]:
    """Group the roots by the parameters below them."""
    groups: list[tuple[int, list[Edge]]] = []
    for root in dict.fromkeys(t.root for taps in plan.taps.values() for t in taps if t.root):
        mask, members = graph.reached[root[0]], [root]
        for other in [g for g in groups if g[0] & mask]:
            groups.remove(other)
            mask, members = mask | other[0], other[1] + members
        groups.append((mask, members))
    return [
        Component(tuple(members), tuple(sorted(_bits(mask))), _nodes_with_rules(graph, members))
        for mask, members in groups
    ]


def _nodes_with_rules(graph: Graph, roots: list[Edge]) -> tuple[int, ...]:
    stack, nodes = [node for node, _ in roots], set[int]()
    while stack:
        node = stack.pop()
        if node not in nodes and graph.reached[node]:
            nodes.add(node)
            stack += [edge[0] for edge in graph.edges[node] if edge is not None]
    found = tuple(sorted(nodes, reverse=True))
    return found if has_rules(graph, found) else ()


def _count_uses(plan: Plan) -> None:
    taps = [tap for at_node in plan.taps.values() for tap in at_node]
    plan.component_of = {root: c for c in plan.components for root in c.roots}
    plan.arriving = Counter(plan.component_of[tap.root] for tap in taps if tap.root)
    parts = [tap.leaf for tap in taps if tap.leaf is not None]
    plan.uses_of = Counter([*parts, *(j for c in plan.components for j in c.parameters)])


def _choose_targets(graph: Graph, plan: Plan) -> None:
    """Decide which tapped nodes backpropagation passes through, and which are the lowest."""
    wanted = set(plan.taps) | {node for node, _ in plan.watched}
    leads_on: list[bool] = []  # to something wanted below
    for inputs in graph.edges:
        leads_on.append(
            any(edge is not None and (edge[0] in wanted or leads_on[edge[0]]) for edge in inputs)
        )
    for node in plan.taps:
        (plan.hooked if leads_on[node] else plan.captured).append(node)


def _bits(mask: int) -> set[int]:
    return {j for j in range(mask.bit_length()) if mask >> j & 1}
