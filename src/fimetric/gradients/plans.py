"""Which plan serves which graph: kept, chosen and dropped by the shape of the graph."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from fimetric.gradients.graph import Graph
from fimetric.gradients.plan import Plan
from fimetric.gradients.routing import same_routing


class Plans:
    """Plans by the shape of their graphs, those used last at the end."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Hashable, Plan] = OrderedDict()
        # Graph shapes whose plans were found wrong, and cannot be reused.
        self._distrusted: OrderedDict[Hashable, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.kept)

    def of(self, graph: Graph) -> Plan | None:
        """Return the plan kept for such a graph, whether or not it can be reused."""
        return self.kept.get(graph.signature)

    def keep(self, graph: Graph, plan: Plan, most: int) -> None:
        """Keep a plan; beyond ``most`` plans, drop the one that was not used for longest."""
        plan.suspect |= graph.signature in self._distrusted
        self.kept[graph.signature] = plan
        self.kept.move_to_end(graph.signature)
        if len(self.kept) > most:
            self.kept.popitem(last=False)

    def distrust(self, graph: Graph, most: int) -> None:
        """Reuse no plan for such a graph from now on; beyond ``most`` shapes forget the oldest."""
        self._distrusted[graph.signature] = None
        if len(self._distrusted) > most:
            self._distrusted.popitem(last=False)

    def reuse(self, graph: Graph, renewed: Callable[[Plan], Plan]) -> Plan | None:
        """Return the plan for such a graph, or None where a first one has to be made.

        Arguments:
            graph: of this batch.
            renewed: makes a plan from an earlier one, where data choose whose rows are whose.
        """
        plan = self.of(graph)
        if plan is None or plan.suspect or (plan.volatile and plan.by_loop):
            return None
        uses = plan.uses + 1
        if plan.volatile or not same_routing(graph, plan.routing):
            bound, volatile = plan.bound, plan.volatile
            plan = renewed(plan)
            plan.bound, plan.volatile = bound, plan.volatile or volatile
            self.kept[graph.signature] = plan
        self.kept.move_to_end(graph.signature)
        plan.uses = uses
        return plan
