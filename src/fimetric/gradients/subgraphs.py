"""Parameter-only subgraphs: a mask times a weight, an LU product, the exponential of a scale.

What the samples add to a root of such a subgraph is pulled down to its parameters by
vector-Jacobian products of all samples at once: by rules where all operations have one, else by a
batched call of autograd. The call costs more than the few small operations in it, so subgraphs
wait for each other until what they hold is worth one.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from fimetric.gradients.contributions import Contribution, Dense, add
from fimetric.gradients.graph import Graph, metadata
from fimetric.gradients.plan import Component, Edge, Plan
from fimetric.gradients.rules.batched import pull_by_rules
from fimetric.gradients.rules.called import scales_without_cancelling

logger = logging.getLogger("fimetric")

Arrived = dict[Edge, Tensor]  # gradients at the roots, (N, *shape)
Products = Callable[[Sequence[Component], Arrived, list[int]], list[Tensor | None]]

ENOUGH = 1 << 20  # gradients that may wait, in numbers


class Subgraphs:
    """Collects what arrives at the roots, and pulls it down."""

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        parameters: Sequence[Tensor],
        samples: int,
        measure: bool,
        group: Any,
    ) -> None:
        self.graph, self.parameters, self.samples = graph, parameters, samples
        self.measure, self.group = measure, group
        self.component_of, self.arriving = plan.component_of, dict(plan.arriving)
        self.parts: dict[Edge, list[Contribution]] = {}
        self.dense: dict[Edge, Tensor] = {}
        self.scale: dict[Edge, Tensor] = {}  # where measured
        self.complete: list[Component] = []
        self.waiting = 0

    def arrive(self, root: Edge, contribution: Contribution | None) -> None:
        """Take one use's contribution, None where no gradient came."""
        if contribution is not None:
            self.parts.setdefault(root, []).append(contribution)
        component = self.component_of[root]
        self.arriving[component] -= 1
        if self.arriving[component] == 0:
            self._complete(component)

    def _complete(self, component: Component) -> None:
        self.complete.append(component)
        for root in component.roots:
            if root in self.parts:
                total = add(self.parts.pop(root))
                self.dense[root] = total.dense()
                if self.measure:
                    self.scale[root] = total.scale()
                self.waiting += self.dense[root].numel()

    def pull(self, everything: bool) -> list[tuple[int, Contribution | None]]:
        """Return (parameter, contribution) of the complete subgraphs, if they are enough."""
        if everything:
            for component in [c for c, missing in self.arriving.items() if missing > 0]:
                self._complete(component)
        if not self.complete or (self.waiting <= ENOUGH and not everything):
            return []
        ready, self.complete, self.waiting = self.complete, [], 0
        others = [c for c in ready if not c.by_rules]
        found = self._through([c for c in ready if c.by_rules], self._by_rules)
        try:
            found += self._through(others, self._batched)
        except RuntimeError as error:  # an operation that cannot be batched
            logger.info("parameter-only operations taken sample by sample: %s", error)
            found += self._through(others, self._by_sample)
        self.dense.clear()
        self.scale.clear()
        return found

    def _through(
        self, components: Sequence[Component], products: Products
    ) -> list[tuple[int, Contribution | None]]:
        """Pull down what arrived at some subgraphs, by one of the three ways below."""
        roots = [root for c in components for root in c.roots if root in self.dense]
        parameters = [j for c in components for j in c.parameters]
        if not roots:
            return [(j, None) for j in parameters]

        def pull(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
            given = zip(roots, gradients, strict=True)
            arrived = {root: g for root, g in given if g is not None}
            return products(components, arrived, parameters)

        found = pull([self._shaped(root) for root in roots])
        scales: Sequence[Tensor | None] = [None] * len(found)
        if self.measure:
            scales = scales_without_cancelling(pull, [self._spread(root) for root in roots])
        contributions = [
            None if g is None else Dense(g, scale) for g, scale in zip(found, scales, strict=True)
        ]
        return list(zip(parameters, contributions, strict=True))

    def _by_rules(
        self, components: Sequence[Component], arrived: Arrived, parameters: list[int]
    ) -> list[Tensor | None]:
        found: dict[int, Tensor] = {}
        for c in components:
            own = {root: arrived[root] for root in c.roots if root in arrived}
            found |= pull_by_rules(self.graph, c.by_rules, own, self.group)
        return [found.get(j) for j in parameters]

    def _batched(
        self, components: Sequence[Component], arrived: Arrived, parameters: list[int]
    ) -> list[Tensor | None]:
        return self._by_autograd(arrived, parameters, batched=True)

    def _by_sample(
        self, components: Sequence[Component], arrived: Arrived, parameters: list[int]
    ) -> list[Tensor | None]:
        each = [
            self._by_autograd({root: g[n] for root, g in arrived.items()}, parameters, False)
            for n in range(self.samples)
        ]
        return [_stacked(column) for column in zip(*each, strict=True)]

    def _by_autograd(
        self, arrived: Arrived, parameters: list[int], batched: bool
    ) -> list[Tensor | None]:
        found = torch.autograd.grad(
            [GradientEdge(self.graph.nodes[node], k) for node, k in arrived],
            [self.parameters[j] for j in parameters],
            list(arrived.values()),
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=batched,
        )
        return list(found)

    def _shaped(self, root: Edge) -> Tensor:
        target = metadata(self.graph.nodes[root[0]])[root[1]]
        return self.dense[root].reshape(self.samples, *target.shape).to(target.dtype)

    def _spread(self, root: Edge) -> Tensor:
        """Return the scale of what arrived, spread evenly over the entries of the root."""
        dense = self._shaped(root)
        each = self.scale[root] / max(1, dense[0].numel()) ** 0.5
        return each.view(-1, *(1,) * (dense.dim() - 1)).expand_as(dense).to(dense.dtype)


def _stacked(column: Sequence[Tensor | None]) -> Tensor | None:
    present = [g for g in column if g is not None]
    return torch.stack(present) if present else None
