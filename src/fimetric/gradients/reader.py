"""One backpropagation that turns every tap into a contribution, and no weight gradients.

Hooks see the output gradients of the tapped operations while backpropagation passes; the lowest
tapped operations are where it ends. What a parameter has received is handed on as soon as the last
of its taps is done.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from fimetric.gradients.checkpoints import Group, forget, readable
from fimetric.gradients.contributions import Contribution, Dense, add
from fimetric.gradients.graph import Graph
from fimetric.gradients.hooks import Registered
from fimetric.gradients.plan import Plan, Tap
from fimetric.gradients.precision import without_autocast
from fimetric.gradients.rules import RULES, Tapped, called
from fimetric.gradients.subgraphs import Subgraphs

Consumer = Callable[[int, Contribution], None]


class OutdatedPlanError(Exception):
    """A tensor that was zero when the plan was made is not zero now."""


class Reader:
    """Reads one batch by a plan and hands each parameter's contribution to ``consume``.

    Arguments:
        graph: of this batch.
        plan: made for this shape of graph.
        parameters: all tensors, in the order of their names.
        samples: the number of losses N.
        consume: called once per used parameter with its number and contribution.
        measure: whether ``scale()`` of the contributions shall be exact everywhere.
        inspect: called with every contribution that enters a parameter-only subgraph.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        parameters: Sequence[Tensor],
        samples: int,
        consume: Consumer,
        measure: bool = False,
        inspect: Callable[[Tap, Contribution], None] | None = None,
    ) -> None:
        self.graph, self.plan, self.parameters, self.samples = graph, plan, parameters, samples
        self.consume, self.inspect, self.measure = consume, inspect, measure
        self.parts: dict[int, list[Contribution]] = {}
        self.slow: set[str] = set()
        self.inside = False  # a hook is at work: what it backpropagates itself is not for the hooks
        self.pending = dict(plan.uses_of)
        self.group = Group()
        self.below = Subgraphs(graph, plan, parameters, samples, self.measure, self.group)

    def read(self, losses: Tensor, retain_graph: bool) -> None:
        """Backpropagate once.

        Raises:
            OutdatedPlanError: where a watched tensor is not zero; the graph is still whole then.
        """
        plan, graph = self.plan, self.graph
        edges = [edge for node in plan.captured for edge in graph.outputs(node)]
        watched = [GradientEdge(graph.nodes[node], k) for node, k in plan.watched]
        if not edges and not watched:
            raise OutdatedPlanError
        handles = [self._hook(node) for node in plan.hooked]
        try:
            with without_autocast(self.parameters[0].device):
                found = torch.autograd.grad(
                    losses,
                    edges + watched,
                    torch.ones_like(losses),
                    retain_graph=retain_graph or bool(watched),
                    allow_unused=True,
                )
        finally:
            for handle in handles:
                handle.remove()
        if _any_is_not_zero(found[len(edges) :]):
            raise OutdatedPlanError
        gradients = iter(found)
        with torch.no_grad(), without_autocast(self.parameters[0].device):
            for node in plan.captured:
                self._at(node, tuple(next(gradients) for _ in graph.outputs(node)))
            self._pull(everything=True)
        if retain_graph:
            forget(graph.nodes)

    def _hook(self, node: int) -> Any:
        def read(gradients: Sequence[Tensor | None]) -> None:
            self._at(node, tuple(gradients))

        return Registered.prehook(self.graph.nodes[node], read)

    def _at(self, node: int, gradients: tuple[Tensor | None, ...]) -> None:
        """Turn the output gradients of one node into contributions."""
        if self.inside:
            return
        self.inside = True
        scratch: dict[str, Any] = {"inputs": {t.input: t.shape for t in self.plan.taps[node]}}
        for tap in self.plan.taps[node]:
            self._deliver(tap, self._contribution(self._tapped(tap, gradients, scratch)))
        self._pull()
        self.inside = False

    def _tapped(
        self, tap: Tap, gradients: tuple[Tensor | None, ...], scratch: dict[str, Any]
    ) -> Tapped:
        node = self.graph.nodes[tap.node]
        return Tapped(node, tap.input, gradients, tap.layouts, tap.shape, self.samples, scratch)

    def _contribution(self, tapped: Tapped) -> Contribution | None:
        name = tapped.node.name()
        rule = RULES.get(name)
        if all(g is None for g in tapped.gradients):
            return None
        with readable(tapped.node, self.group):
            found = None if rule is None else rule(tapped)
            if found is None:
                self.slow.add(name)
                found = called(tapped, self.measure)
        return found

    def _deliver(self, tap: Tap, contribution: Contribution | None) -> None:
        if contribution is not None and tap.becomes_real:
            contribution = Dense(contribution.dense().real)
        if contribution is not None and tap.transposed:
            contribution = contribution.transposed()
        if tap.leaf is not None:
            self._add(tap.leaf, contribution)
        elif tap.root is not None:
            if self.inspect is not None and contribution is not None:
                self.inspect(tap, contribution)
            self.below.arrive(tap.root, contribution)

    def _pull(self, everything: bool = False) -> None:
        for j, contribution in self.below.pull(everything):
            self._add(j, contribution)

    def _add(self, j: int, contribution: Contribution | None) -> None:
        """Collect one part of parameter ``j``; hand it on when it was the last."""
        parts = self.parts.setdefault(j, [])
        if contribution is not None:
            parts.append(contribution)
        self.pending[j] -= 1
        if self.pending[j] == 0:
            del self.parts[j]
            if parts:
                self.consume(j, add(parts))


def _any_is_not_zero(gradients: Sequence[Tensor | None]) -> bool:
    """Look at all of them at once, since a device is waited for."""
    counts = [g.count_nonzero() for g in gradients if g is not None]
    return bool(torch.stack(counts).any()) if counts else False
