"""What is known of all graphs that differ in sizes alone, kept for later processes too.

What is kept are a few numbers, under a hash of the graph: nodes, edges, attributes, the releases
of torch and of the engine. Where nothing was kept the first batch teaches it again.
"""

import math
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from fimetric.gradients import cache
from fimetric.gradients.graph import Graph
from fimetric.gradients.plan import Plan
from fimetric.store import archive

VERSION = 1  # raised when what is kept, or what follows from it, changes
CHECKED_USES = frozenset(8**k for k in range(20))  # the first reuse, then more and more rarely
CERTAIN_USES = frozenset(64 * 8**k for k in range(18))  # where all follows from rules


@dataclass
class Kind:
    """What the first batch of a kind of graphs has taught."""

    bound: Tensor  # (J,) squared norms that were rounding noise, on the CPU
    mixed: frozenset[int]  # nodes that were sums over the samples when they were looked at
    uses: int = 0  # after the first batch
    distrusted: bool = False  # data move samples in ways that neither rules nor indices show
    unreadable: Plan | None = None  # by the loop, as all graphs of the kind

    def use(self, plan: Plan) -> bool:
        """Count one use, and return whether it is to be checked."""
        self.uses += 1
        return self.uses in (CHECKED_USES if plan.looked_at else CERTAIN_USES)


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    bound: list[float]
    mixed: list[int]


def recall(graph: Graph, parameters: int) -> Kind | None:
    """Return what an earlier process has learnt of such graphs, if it was kept."""
    kept = cache.recall(_form(graph)) if cache.folder() else None
    if kept is None or len(kept.bound) != parameters:
        return None
    if any(not 0 <= k < len(graph.nodes) for k in kept.mixed):
        return None
    return Kind(torch.tensor(kept.bound, device="cpu"), frozenset(kept.mixed))


def keep(graph: Graph, kind: Kind) -> None:
    """Keep what was learnt, where it holds for later processes and can be written."""
    bound = kind.bound.tolist()
    if not cache.folder() or kind.unreadable is not None or not all(map(math.isfinite, bound)):
        return
    kept = None if kind.distrusted else _Kept(bound, sorted(kind.mixed))
    cache.keep(_form(graph), kept)


def _form(graph: Graph) -> archive.Kind[_Kept]:
    return cache.form("graph", VERSION, f"{torch.__version__} {graph.kind.value!r}", _Kept)
