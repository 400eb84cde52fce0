"""The engine's one public class."""

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from fimetric.gradients.checks import (
    check_sample,
    coarsest_eps,
    freed_graph_named,
    hides_parameters,
    refuse_foreign_graphs,
    refuse_losses,
    rounding_bound,
    trainable_parameters,
)
from fimetric.gradients.columns import Columns
from fimetric.gradients.contributions import Contribution, Dense
from fimetric.gradients.engine import Consumer, OutdatedPlanError, Reader
from fimetric.gradients.graph import Graph, read_graph
from fimetric.gradients.hooks import (
    Registered,
    refuse_accumulating,
    refuse_changing,
    taken,
    through_hooks,
)
from fimetric.gradients.mixing import MixedSamplesError, MixingInspector
from fimetric.gradients.plan import Plan, make_plan
from fimetric.gradients.plans import Plans
from fimetric.gradients.reference import (
    gradient_of_one,
    gradients_one_by_one,
    hidden_gradient_of_one,
)

logger = logging.getLogger("fimetric")

PLANS = 16  # graph shapes remembered
CHECKED_USES = frozenset(8**k for k in range(20))  # the first reuse, then more and more rarely


class Measured(NamedTuple):
    """Squared norms with the size of their rounding noise."""

    table: Tensor  # (N, J) squared norms
    bound: Tensor  # (N, J) squared norms below these are rounding noise


class GradientNorms:
    """Per-sample squared gradient norms of every parameter tensor, for any PyTorch model.

    The table is exact: it equals what one backward pass per sample gives, at about the price of one
    backward pass for the batch. The first batch of each graph shape costs several times more: the
    engine then learns which entries belong to which sample and checks one sample against autograd.

    Arguments:
        module: an ``nn.Module``, or an iterable of (name, parameter). Frozen parameters are left
            out; a tied one appears once, under its first name.

    Raises:
        ValueError: where there is no trainable parameter.

    Example:
        >>> model = torch.nn.Linear(3, 2)
        >>> norms = GradientNorms(model)
        >>> losses = model(torch.ones(5, 3)).square().sum(dim=1)
        >>> norms(losses).shape, norms.names
        (torch.Size([5, 2]), ['weight', 'bias'])

    References:
        Approximations to the Fisher Information Metric of Deep Generative Models for
        Out-Of-Distribution Detection (Dauncey, Holmes, Williams and Falck, 2024, arXiv 2403.01485)
        introduces these norms as features; it computes them by one backward pass per sample.
    """

    def __init__(self, module: nn.Module | Iterable[tuple[str, Tensor]]) -> None:
        self._named = trainable_parameters(module)
        self._parameters = list(self._named.values())
        self._plans = Plans()
        self._announced: set[str] = set()
        self._hooks = 0  # registered when a graph was last looked at

    @property
    def names(self) -> list[str]:
        """Names of the J columns, in the order of ``named_parameters()``."""
        return list(self._named)

    @freed_graph_named()
    def __call__(self, losses: Tensor, retain_graph: bool = False) -> Tensor:
        """Return the squared norms of d losses[n] / d parameter j.

        Arguments:
            losses: (N,) real, with a graph. A sum over a group gives its joint gradient's norms.
            retain_graph: whether to keep the graph for another use.

        Returns:
            (N, J) tensor without graph, float64 where any parameter is, else float32. A parameter
            that the losses do not use is a column of exact zeros.

        Raises:
            ValueError: where the losses are not (N,) real numbers with a graph.
            MixedSamplesError: where the loss of one sample is seen to depend on other samples:
                batch normalisation in training mode at any N, other mixing from N = 3 on where most
                of a sample's gradient runs through the sample itself. ``fimetric.extract`` compares
                samples with and without their batch and catches the rest.
            RuntimeError: where the engine and autograd disagree on the sample that is checked, or a
                hook above the parameters changes gradients. Hooks of parameters apply per sample.
        """
        graph = self._graph(losses)
        columns = Columns(self._zeros(losses, len(losses), len(self._parameters)))
        plan = self._known_plan(graph, losses)
        due = plan is not None and plan.uses in CHECKED_USES
        self._read(graph, plan, losses, columns.take, retain_graph or due)
        table = columns.table()
        if plan is not None and due and not self._agrees(graph, plan, losses, table):
            self._plans.distrust(graph, PLANS)
            return self._first(graph, losses)[1].table
        return table

    def _agrees(self, graph: Graph, plan: Plan, losses: Tensor, table: Tensor) -> bool:
        """Check a plan that is not new: data may route samples in a way that no index shows."""
        if plan.hidden:
            return True
        eps, sample = coarsest_eps(graph, self._parameters), plan.uses % len(losses)
        try:
            check_sample(losses, table, plan.bound, self._named, eps, sample)
        except RuntimeError as error:
            logger.warning(
                "the model moves samples about in a way that changes with the data; colours are "
                "read anew in every batch from now on, and earlier batches may be wrong: %s",
                error,
            )
            return False
        return True

    @freed_graph_named()
    def measure(self, losses: Tensor) -> Measured:
        """Return the table and the bound below which each entry is rounding noise.

        The graph is read as if it were new, at the price of a first batch, and is kept.
        """
        return self._first(self._graph(losses), losses)[1]

    @freed_graph_named()
    def gram(self, losses: Tensor, retain_graph: bool = False) -> Tensor:
        """Return the inner products of the samples' gradients, (J, N, N)."""
        graph = self._graph(losses)
        products = self._zeros(losses, len(self._parameters), len(losses), len(losses))

        def consume(j: int, contribution: Contribution) -> None:
            products[j] = contribution.gram().real

        self._read(graph, self._known_plan(graph, losses), losses, consume, retain_graph)
        return products

    def contributions(
        self, losses: Tensor, retain_graph: bool = False
    ) -> Iterator[tuple[str, Contribution]]:
        """Yield (name, ``Dense`` or ``Factors``) for every parameter, in the order of ``names``.

        ``Dense.values`` holds the samples' gradients, (N, *shape). ``Factors.u`` (N, T, O) and
        ``Factors.v`` (N, T, I) mean the matrices sum_t u_t v_t^T. Both have ``dense()``,
        ``squared_norms()`` and ``gram()``.
        """
        graph = self._graph(losses)
        found: dict[int, Contribution] = {}
        self._read(graph, self._known_plan(graph, losses), losses, found.__setitem__, retain_graph)
        for j, (name, parameter) in enumerate(self._named.items()):
            if j not in found:
                found[j] = Dense(parameter.detach().new_zeros(len(losses), *parameter.shape))
            yield name, found.pop(j)

    def _graph(self, losses: Tensor) -> Graph:
        """Return the graph of losses that can be read."""
        refuse_losses(losses)
        graph = read_graph(losses, self._parameters)
        refuse_accumulating(self._named)
        if Registered.count() != self._hooks:
            refuse_changing(graph, losses, self._parameters)
            self._hooks = Registered.count()
        return graph

    def _read(
        self,
        graph: Graph,
        plan: Plan | None,
        losses: Tensor,
        consume: Consumer,
        retain_graph: bool,
    ) -> None:
        """Hand every used parameter's contribution to ``consume``."""
        if plan is not None:
            try:
                self._read_by(plan, graph, losses, consume, retain_graph)
                return
            except OutdatedPlanError:
                pass
        plan, _ = self._first(graph, losses)
        self._read_by(plan, graph, losses, consume, retain_graph)

    def _first(self, graph: Graph, losses: Tensor) -> tuple[Plan, Measured]:
        """Make the plan for a new graph, check it on this batch and remember it."""
        refuse_foreign_graphs(graph)
        zeros = self._zeros(losses, len(losses), len(self._parameters))
        columns, scale = Columns(zeros), torch.zeros_like(zeros)

        def consume(j: int, contribution: Contribution) -> None:
            columns.take(j, contribution)
            scale[:, j] = contribution.scale()

        eps = coarsest_eps(graph, self._parameters)
        plan = self._new_plan(graph, losses, consume)
        table = columns.table()
        # What a strange sample hides is looked at again next time.
        plan.suspect = not bool(table.isfinite().all())
        measured = Measured(table, rounding_bound(scale, eps))
        plan.bound = measured.bound.nanmedian(0).values
        if not plan.hidden:  # autograd.grad, against which the check is made, would not see them
            check_sample(losses, *measured, self._named, eps, len(losses) // 2)
        self._plans.keep(graph, plan, PLANS)
        return plan, measured

    def _new_plan(self, graph: Graph, losses: Tensor, consume: Consumer) -> Plan:
        """Make a plan and read the batch by it; a graph that cannot be read goes by the loop.

        Raises:
            MixedSamplesError: as it is, where any loss is finite.
        """
        hidden = hides_parameters(graph, losses, self._named)
        if hidden:
            why, plan = f"parameters hidden in {hidden}", Plan(by_loop=True, hidden=True)
        else:
            try:
                plan = make_plan(graph, losses, self._plans.of(graph))
                inspector = MixingInspector(graph, plan, len(losses))
                self._read_by(plan, graph, losses, consume, True, inspector)
                return plan
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
        self._loop(losses, consume, plan.hidden)
        return plan

    def _read_by(
        self,
        plan: Plan,
        graph: Graph,
        losses: Tensor,
        consume: Consumer,
        retain_graph: bool,
        inspector: MixingInspector | None = None,
    ) -> None:
        if plan.by_loop:
            self._loop(losses, consume, plan.hidden)
            return
        names = self.names
        with taken(self._parameters) as hooks:

            def hooked(j: int, contribution: Contribution) -> None:
                kind = self._parameters[j].dtype
                consume(j, through_hooks(contribution, hooks[j], kind, names[j]))

            reader = Reader(graph, plan, self._parameters, len(losses), hooked, inspector)
            reader.read(losses, retain_graph)
        if len(losses) > 1:  # a single sample needs no rule
            self._announce(reader.slow)

    def _loop(self, losses: Tensor, consume: Consumer, hidden: bool) -> None:
        """Take one backward pass per sample."""
        one = hidden_gradient_of_one if hidden else gradient_of_one
        for j, g in enumerate(gradients_one_by_one(losses, self._parameters, one)):
            if g is not None:
                consume(j, Dense(g))

    def _announce(self, operations: set[str]) -> None:
        """Say once which operations take a slower way."""
        for operation in sorted(operations - self._announced):
            logger.info("no fast rule for %s: exact, but called once per sample", operation)
        self._announced |= operations

    def _known_plan(self, graph: Graph, losses: Tensor) -> Plan | None:
        """Return the plan for such a graph, if there is one that can be reused."""
        return self._plans.reuse(graph, lambda before: make_plan(graph, losses, before))

    def _zeros(self, losses: Tensor, *shape: int) -> Tensor:
        wide = any(p.dtype in (torch.float64, torch.complex128) for p in self._parameters)
        dtype = torch.float64 if wide else torch.float32
        return torch.zeros(shape, dtype=dtype, device=losses.device)
