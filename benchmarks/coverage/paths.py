"""By which way the engine reads each tensor. The only place that looks inside the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

from fimetric.gradients import GradientNorms, reader
from fimetric.gradients.graph import Graph, read_graph
from fimetric.gradients.plan import Plan, Tap
from fimetric.gradients.rules import Tapped

FAST, CALLED, LOOP, UNUSED = "fast", "called", "loop", "unused"


class Path(NamedTuple):
    """The slowest way that any use of a tensor takes, and the operations that cause it."""

    way: str
    operations: frozenset[str] = frozenset()


def paths(norms: GradientNorms, losses: Tensor) -> dict[str, Path]:
    """Return the path of every tensor, ``unused`` where no gradient can arrive in this batch.

    A tensor that enters through a parameter-only subgraph takes the path of the subgraph's uses.
    """
    parameters = norms._engine.parameters
    with _recording() as recorded:
        norms.measure(losses)
    graph = read_graph(losses, parameters)
    known = norms._engine.plans.find(graph)
    assert known is not None  # it was just read
    plan = known.plan
    if plan.by_loop:
        used = -1 if plan.hidden else graph.reached[graph.root]
        found = [Path(LOOP) if used >> j & 1 else Path(UNUSED) for j in range(len(parameters))]
    else:
        found = _of_taps(graph, plan, recorded, len(parameters))
    return dict(zip(norms.names, found, strict=True))


@contextmanager
def _recording() -> Iterator[list[Tapped]]:
    """Note every use for which an operation is called sample by sample."""
    recorded: list[Tapped] = []
    original = reader.called

    def called(tap: Tapped, measure: bool) -> object:
        recorded.append(tap)
        return original(tap, measure)

    reader.called = called
    try:
        yield recorded
    finally:
        reader.called = original


def _of_taps(graph: Graph, plan: Plan, recorded: list[Tapped], count: int) -> list[Path]:
    number = {node: k for k, node in enumerate(graph.nodes)}
    slow = {(number[tap.node], tap.input) for tap in recorded}
    operations: list[set[str]] = [set() for _ in range(count)]
    used: set[int] = set()
    for tap in (tap for taps in plan.taps.values() for tap in taps):
        for j in _parameters(plan, tap):
            used.add(j)
            if (tap.node, tap.input) in slow:
                operations[j].add(graph.name(tap.node))
    return [
        Path(CALLED, frozenset(names)) if names else Path(FAST if j in used else UNUSED)
        for j, names in enumerate(operations)
    ]


def _parameters(plan: Plan, tap: Tap) -> tuple[int, ...]:
    if tap.leaf is not None:
        return (tap.leaf,)
    return next(c.parameters for c in plan.components if tap.root in c.roots)
