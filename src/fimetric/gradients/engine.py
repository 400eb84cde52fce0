"""From losses to contributions: which plan reads a graph, whether it is checked, and what then."""

import logging
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from fimetric.gradients.checks import (
    check_sample,
    coarsest_eps,
    give_up,
    hides_parameters,
    refuse_foreign_graphs,
    refuse_given_up,
    refuse_losses,
    rounding_bound,
    still_agrees,
)
from fimetric.gradients.columns import ALL, Chosen, Columns
from fimetric.gradients.contributions import Contribution, Dense
from fimetric.gradients.graph import Graph, is_direct, read_graph
from fimetric.gradients.hooks import (
    Registered,
    refuse_accumulating,
    refuse_changing,
    taken,
    through_hooks,
)
from fimetric.gradients.kinds import Kind
from fimetric.gradients.mixing import MixedSamplesError, MixingInspector, refuse_batch_statistics
from fimetric.gradients.plan import Plan, make_plan
from fimetric.gradients.plans import Known, plans_of
from fimetric.gradients.reader import Consumer, OutdatedPlanError, Reader
from fimetric.gradients.reference import (
    gradient_of_one,
    gradients_one_by_one,
    hidden_gradient_of_one,
)
from fimetric.gradients.routing import same_routing
from fimetric.gradients.squares import squares_one_by_one

logger = logging.getLogger("fimetric")


class Measured(NamedTuple):
    """Squared norms with the size of their rounding noise."""

    table: Tensor  # (N, J) squared norms
    bound: Tensor  # (N, J) squared norms below these are rounding noise


class Engine:
    """Reads one batch after another.

    Arguments:
        named: the parameters by name.
    """

    def __init__(self, named: dict[str, Tensor]) -> None:
        self.named, self.parameters = named, list(named.values())
        self.plans = plans_of(self.parameters)
        self._announced: set[str] = set()
        self._hooks = 0  # registered when a graph was last looked at

    def zeros(self, losses: Tensor, *shape: int) -> Tensor:
        """Return zeros in the format of the results."""
        wide = any(p.dtype in (torch.float64, torch.complex128) for p in self.parameters)
        dtype = torch.float64 if wide else torch.float32
        return torch.zeros(shape, dtype=dtype, device=losses.device)

    def table(self, losses: Tensor, retain_graph: bool) -> Tensor:
        """Return the squared norms (N, J)."""
        table = self._table(losses, retain_graph)
        if not retain_graph:
            give_up(losses)
        return table

    def _table(self, losses: Tensor, retain_graph: bool) -> Tensor:
        graph = self._graph(losses)
        if is_direct(graph, len(losses)):
            return self._by_loop(losses, retain_graph=retain_graph).table()
        known = self._known(graph, losses)
        if known is None:
            return self._first(graph, losses).table
        plan, kind = known
        due = kind.use(plan) and not plan.hidden
        try:
            table = self._filled(plan, graph, losses, retain_graph or due).table()
        except OutdatedPlanError:
            return self._first(graph, losses).table
        if due and not still_agrees(graph, losses, table, kind.bound, self.named, kind.uses):
            self.plans.distrust(graph, kind)
            return self._first(graph, losses).table
        return table

    def measure(self, losses: Tensor) -> Measured:
        """Return them with the bound below which each is rounding noise; the graph is kept."""
        graph = self._graph(losses)
        known = self._known(graph, losses)
        if known is not None:
            try:
                columns = self._filled(known.plan, graph, losses, True, ALL)
                eps = coarsest_eps(graph, self.parameters)
                return Measured(columns.table(), rounding_bound(columns.scale(), eps))
            except OutdatedPlanError:
                pass
        return self._first(graph, losses, ALL)

    def read(self, losses: Tensor, consume: Consumer, retain_graph: bool) -> Plan:
        """Hand every used parameter's contribution to ``consume``, once; return by which plan."""
        graph = self._graph(losses)
        known = self._known(graph, losses)
        if known is not None:
            plan, found = known.plan, dict[int, Contribution]()
            take = found.__setitem__ if plan.watched else consume  # a plan that watches may fail
            try:
                self._read(plan, graph, losses, take, retain_graph)
            except OutdatedPlanError:
                pass
            else:
                for j in list(found):
                    consume(j, found.pop(j))
                return plan
        self._first(graph, losses)
        known = self.plans.find(graph)
        assert known is not None  # just made
        self._read(known.plan, graph, losses, consume, retain_graph)
        return known.plan

    def _graph(self, losses: Tensor) -> Graph:
        """Return the graph of losses that can be read."""
        refuse_losses(losses)
        refuse_given_up(losses)
        graph = read_graph(losses, self.parameters)
        refuse_accumulating(self.named)
        if Registered.count() != self._hooks:
            refuse_changing(graph, losses, self.parameters)
            self._hooks = Registered.count()
        return graph

    def _known(self, graph: Graph, losses: Tensor) -> Known | None:
        """Return the plan for a graph of a known kind, None where a first one has to be made."""
        kept = self.plans.find(graph)
        kind = self.plans.kind(graph) if kept is None else kept.kind
        if kind is None or kind.distrusted:
            return None
        plan = kind.unreadable if kept is None else kept.plan
        if plan is not None and (plan.suspect or (plan.volatile and plan.by_loop)):
            return None
        if plan is None or plan.volatile or not same_routing(graph, plan.routing):
            try:
                plan = self._made(graph, losses, plan, kind)
            except (CheckpointError, MixedSamplesError):  # said where it is a first one
                return None
        if kept is not None and plan is kept.plan:
            return kept
        known = Known(plan, kind)
        self.plans.keep(graph, known)
        return known

    def _made(self, graph: Graph, losses: Tensor, before: Plan | None, kind: Kind | None) -> Plan:
        """Make a plan for this batch."""
        distrusted = kind is not None and kind.distrusted
        mixed = kind.mixed if kind is not None else frozenset[int]()
        plan = make_plan(graph, losses, before, mixed, by_rules=not distrusted)
        if before is not None:
            plan.volatile |= before.volatile
            plan.inspected = before.inspected
        refuse_batch_statistics(graph, plan, len(losses))
        return plan

    def _first(self, graph: Graph, losses: Tensor, chosen: Chosen | None = None) -> Measured:
        """Make the plan for a graph of a new kind, check it on this batch and remember it.

        Arguments:
            graph: of this batch.
            losses: (N,).
            chosen: samples whose bounds are asked for; by default three, which are enough here.

        Raises:
            RuntimeError: where engine and autograd disagree, with rules and without.
        """
        refuse_foreign_graphs(graph)
        N, eps = len(losses), coarsest_eps(graph, self.parameters)
        few = torch.tensor(sorted({0, N // 2, N - 1}), device=losses.device)
        plan, columns = self._new_plan(graph, losses, few if chosen is None else chosen)
        found = Measured(columns.table(), rounding_bound(columns.scale(), eps))
        # What a strange sample hides is looked at again next time.
        plan.suspect = not bool(found.table.isfinite().all())
        unreadable = plan if plan.by_loop and not plan.volatile else None
        # On a GPU no median along an axis counts as deterministic.
        usual = found.bound.cpu().nanmedian(0).values
        kind = Kind(usual, plan.mixed, unreadable=unreadable)
        before = self.plans.kind(graph)
        kind.distrusted = before is not None and before.distrusted
        if not plan.hidden:  # autograd.grad, against which the check is made, would not see them
            try:
                check_sample(graph, losses, *found, self.named, eps, N // 2)
            except RuntimeError:
                if not plan.by_rules:
                    raise
                self.plans.distrust(graph, kind)
                return self._first(graph, losses, chosen)
        self.plans.learn(graph, kind)
        self.plans.keep(graph, Known(plan, kind))
        return found

    def _new_plan(self, graph: Graph, losses: Tensor, few: Chosen) -> tuple[Plan, Columns]:
        """Make a plan and read the batch by it; a graph that cannot be read goes by the loop.

        Raises:
            MixedSamplesError: as it is, where any loss is finite.
        """
        hidden = hides_parameters(graph, losses, self.named)
        if hidden:
            why, plan = f"parameters hidden in {hidden}", Plan(by_loop=True, hidden=True)
        else:
            try:
                kept = self.plans.find(graph)
                plan = self._made(graph, losses, kept and kept.plan, self.plans.kind(graph))
                return plan, self._filled(plan, graph, losses, True, few)
            except CheckpointError:
                why, plan = "checkpointing", Plan(by_loop=True)
            except OutdatedPlanError:
                why = "gradients not finite, or too small to tell whose"
                plan = Plan(by_loop=True, volatile=True)
            except MixedSamplesError:
                if losses.isfinite().any():
                    raise
                why, plan = "no loss is finite", Plan(by_loop=True, volatile=True)
        logger.warning("%s: exact, but by one backward pass per sample", why)
        return plan, self._filled(plan, graph, losses, True, few)

    def _filled(
        self,
        plan: Plan,
        graph: Graph,
        losses: Tensor,
        retain_graph: bool,
        measured: Chosen | None = None,
    ) -> Columns:
        """Return the columns of a batch."""
        if plan.by_loop:
            return self._by_loop(losses, plan.hidden, retain_graph, measured)
        columns = self._columns(losses, measured)
        self._read(plan, graph, losses, columns.take, retain_graph, measured is not None)
        return columns

    def _by_loop(
        self,
        losses: Tensor,
        hidden: bool = False,
        retain_graph: bool = True,
        measured: Chosen | None = None,
    ) -> Columns:
        """Return the columns filled row by row, which holds one gradient."""
        columns = self._columns(losses, measured)
        columns.fill(squares_one_by_one(losses, self.parameters, hidden, retain_graph))
        return columns

    def _columns(self, losses: Tensor, measured: Chosen | None) -> Columns:
        return Columns(self.zeros(losses, len(losses), len(self.parameters)), measured)

    def _read(
        self,
        plan: Plan,
        graph: Graph,
        losses: Tensor,
        consume: Consumer,
        retain_graph: bool,
        measure: bool = False,
    ) -> None:
        if plan.by_loop:
            one = hidden_gradient_of_one if plan.hidden else gradient_of_one
            for j, g in enumerate(gradients_one_by_one(losses, self.parameters, one)):
                if g is not None:
                    consume(j, Dense(g))
            return
        names = list(self.named)
        with taken(self.parameters) as hooks:

            def hooked(j: int, contribution: Contribution) -> None:
                kind = self.parameters[j].dtype
                consume(j, through_hooks(contribution, hooks[j], kind, names[j]))

            samples = len(losses)
            inspect = None if plan.inspected else MixingInspector(graph, samples)
            reader = Reader(graph, plan, self.parameters, samples, hooked, measure, inspect)
            reader.read(losses, retain_graph)
        plan.inspected = True
        if len(losses) > 1:  # a single sample needs no rule
            self._announce(reader.slow)

    def _announce(self, operations: set[str]) -> None:
        """Say once which operations take a slower way."""
        for operation in sorted(operations - self._announced):
            logger.info("no fast rule for %s: exact, but called once per sample", operation)
        self._announced |= operations
