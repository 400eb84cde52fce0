"""The samples' axis taken through a graph, from the losses down, by its operations' rules."""

from collections.abc import Callable, Mapping, Sequence, Set

from torch import Tensor

from fimetric.gradients.axes.base import Found, Rule, Shared, Use
from fimetric.gradients.axes.indices import BY_DATA
from fimetric.gradients.axes.lookups import LOOKUPS
from fimetric.gradients.axes.pointwise import POINTWISE
from fimetric.gradients.axes.products import PRODUCTS
from fimetric.gradients.axes.reductions import REDUCTIONS
from fimetric.gradients.axes.views import VIEWS
from fimetric.gradients.checkpoints import Group, readable
from fimetric.gradients.graph import Graph
from fimetric.gradients.layout import Axis, Colour, Layout, Uncoloured, both
from fimetric.gradients.writing import WRITING


def _by_overload(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {f"{name}Backward{k}": rule for name, rule in rules.items() for k in range(3)}


# Operations are called after their derivative, with a number for each overload. A function written
# in Python has no number, and so no rule.
RULES = _by_overload({**VIEWS, **POINTWISE, **PRODUCTS, **REDUCTIONS, **LOOKUPS})
RULES_BY_DATA = _by_overload(BY_DATA)
RULES[WRITING], RULES_BY_DATA[WRITING] = LOOKUPS[WRITING], BY_DATA[WRITING]

Edge = tuple[int, int]  # node and number of its output
Colours = dict[int, list[Colour]]  # node -> of each of its outputs
Probe = Callable[[list[int]], Mapping[int, list[Colour]]]
State = Colour | None  # None: no rule explains it

ROUNDS = 3  # of probing: each time what rules leave open after what was learnt


def carry(
    graph: Graph, losses: Tensor, wanted: Sequence[int], mixed: Set[int], probe: Probe
) -> "Carried":
    """Return the colour of each output of every wanted node.

    Arguments:
        graph: of this batch.
        losses: (N,), N > 1.
        wanted: nodes that may depend on the samples and lead to parameters, in order.
        mixed: nodes that were probed in an earlier batch, and were sums over the samples.
        probe: nodes -> their colours, read off their gradients.
    """
    found = Carried(graph, losses, wanted, mixed, {})
    for round_ in range(ROUNDS):
        if not found.open:
            break
        unknown = found.open & found.first if round_ < ROUNDS - 1 else found.open
        found = Carried(graph, losses, wanted, mixed, {**found.probed, **probe(sorted(unknown))})
    return found


class Carried:
    """What follows from the rules and from what was probed.

    Attributes:
        colours: of every wanted node.
        explained: nodes all of whose inputs follow from their outputs.
        contracted: nodes that a product sums over the samples, unless data choose among them.
        probed: what was learnt from gradients.
        by_data: nodes whose indices in this batch were looked at.
        open: nodes of which nothing is known yet.
        first: those of them to be probed first; what is below may follow.
    """

    def __init__(
        self,
        graph: Graph,
        losses: Tensor,
        wanted: Sequence[int],
        mixed: Set[int],
        probed: Colours,
    ) -> None:
        self.colours: Colours = {}
        self.explained, self.contracted, self.by_data = set[int](), set[int](), set[int]()
        self.probed, self.open, self.first = probed, set[int](), set[int]()
        self._graph, self._inside, self._mixed = graph, set(wanted), mixed
        self._group = Group()
        self._arrived: dict[Edge, State] = {
            (graph.root, losses.output_nr): Layout(0, 1, len(losses), 1)
        }
        for node in reversed(wanted):
            self._visit(node)

    @property
    def sums(self) -> frozenset[int]:
        """Contracted nodes that were probed, and in which no entry is a sample's own."""
        looked_at = self.contracted & self.probed.keys()
        return frozenset(k for k in looked_at if Uncoloured.MIXED in self.probed[k])

    def _visit(self, node: int) -> None:
        """Settle one node, whose users are settled."""
        count = len(self._graph.shapes(node))
        outputs = [self._arrived.get((node, k), Uncoloured.ABSENT) for k in range(count)]
        if None in outputs and node in self.probed:
            outputs = list(self.probed[node])
        if None in outputs:
            self.open.add(node)
        self.colours[node] = [Uncoloured.UNKNOWN if c is None else c for c in outputs]
        self._pass_on(node, outputs)

    def _pass_on(self, node: int, outputs: list[State]) -> None:
        """Say of each input what its gradient is."""
        edges = enumerate(self._graph.edges[node])
        inputs = [(k, edge) for k, edge in edges if edge is not None and edge[0] in self._inside]
        if Uncoloured.MIXED in outputs:
            for _, edge in inputs:
                self._arrive(edge, Uncoloured.MIXED)
        elif any(not isinstance(c, Uncoloured) for c in outputs):
            states = [self._by_rule(node, outputs, k, edge) for k, edge in inputs]
            for (_, edge), state in zip(inputs, states, strict=True):
                self._arrive(edge, state)
            if None not in states:
                self.explained.add(node)

    def _by_rule(self, node: int, outputs: list[State], k: int, edge: Edge) -> State:
        """Return the colour of an input, None where no rule explains it."""
        rule = RULES.get(self._graph.name(node))
        if rule is None:
            self.first.add(edge[0])
            return None
        place, layout = _common(outputs)
        if layout is None:
            if None not in outputs:
                self.first.add(edge[0])
            return None
        shape = self._graph.shapes(edge[0])[edge[1]]
        use = Use(self._graph.nodes[node], k, layout, self._graph.shapes(node)[place], shape)
        found = self._found(node, rule, use)
        if found is Shared.CONTRACTED:
            self.contracted.add(edge[0])
        if found is Shared.SUMMED or (found is Shared.CONTRACTED and edge[0] in self._mixed):
            return Uncoloured.MIXED
        if isinstance(found, Axis):
            return found
        self.first.add(edge[0])
        return None

    def _found(self, node: int, rule: Rule, use: Use) -> Found:
        """Ask a rule, then the indices of this batch."""
        by_data = RULES_BY_DATA.get(self._graph.name(node))
        if by_data is None:
            return rule(use)
        with readable(use.node, self._group):
            found = rule(use)
            if found is not None:
                return found
            self.by_data.add(node)
            return by_data(use)

    def _arrive(self, edge: Edge, state: State) -> None:
        """Add one use's gradient to those of others: what belongs to several is nobody's own."""
        known = self._arrived.get(edge, state)
        if Uncoloured.MIXED in (known, state):
            self._arrived[edge] = Uncoloured.MIXED
        elif isinstance(known, Axis) and isinstance(state, Axis):
            self._arrived[edge] = both(known, state)
        else:
            self._arrived[edge] = None
        if self._arrived[edge] is None and known is not None and state is not None:
            self.first.add(edge[0])


def _common(outputs: list[State]) -> tuple[int, Axis | None]:
    """Return the number of an output with a gradient and the layout that serves all such."""
    coloured = [(k, c) for k, c in enumerate(outputs) if not isinstance(c, Uncoloured)]
    found: Axis | None = None
    for k, c in coloured:
        if not isinstance(c, Axis):
            return coloured[0][0], None
        found = c if k == coloured[0][0] else found and both(found, c)
    return coloured[0][0], found
