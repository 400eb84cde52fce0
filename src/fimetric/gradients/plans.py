"""Which plan serves which graph, and how far graphs of its kind are trusted.

Rules make the plan for a new batch size or length in a few milliseconds, so few plans are kept.
What a batch has taught about a KIND of graphs, which differ in nothing but sizes, holds for all of
them: where samples are summed over, and how often that was checked.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from fimetric.gradients import kinds
from fimetric.gradients.graph import Graph, Key
from fimetric.gradients.kinds import Kind
from fimetric.gradients.plan import Plan

PLANS = 16  # graphs remembered
KINDS = 256  # kinds of graphs remembered

Value = TypeVar("Value")


class Known(NamedTuple):
    """How to read a graph, and what is known of all of its kind."""

    plan: Plan
    kind: Kind


class Plans:
    """Plans by their graphs, those used last at the end.

    Arguments:
        parameters: the number of parameters that the graphs lead to.
    """

    def __init__(self, parameters: int) -> None:
        self._parameters = parameters
        self._plans: OrderedDict[Key, Known] = OrderedDict()
        self._kinds: OrderedDict[Key, Kind] = OrderedDict()

    def __len__(self) -> int:
        return len(self._plans)

    def find(self, graph: Graph) -> Known | None:
        """Return what is kept for such a graph."""
        found = self._plans.get(graph.signature)
        if found is not None:
            self._plans.move_to_end(graph.signature)
        return found

    def kind(self, graph: Graph) -> Kind | None:
        """Return what is known of such graphs of any size, in this process or an earlier one."""
        if graph.kind not in self._kinds:
            found = kinds.recall(graph, self._parameters)
            if found is not None:
                _put(self._kinds, graph.kind, found, KINDS)
        return self._kinds.get(graph.kind)

    def keep(self, graph: Graph, known: Known) -> None:
        """Keep a plan; beyond ``PLANS`` drop the one that was not used for longest."""
        _put(self._plans, graph.signature, known, PLANS)

    def learn(self, graph: Graph, kind: Kind) -> None:
        """Remember what the first batch of a kind has taught."""
        _put(self._kinds, graph.kind, kind, KINDS)
        kinds.keep(graph, kind)

    def distrust(self, graph: Graph, kind: Kind) -> None:
        """Look at every batch of a kind from now on."""
        kind.distrusted = True
        self.learn(graph, kind)


def _put(kept: OrderedDict[Key, Value], key: Key, value: Value, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


# By the first parameter, with which they go, then by all of them.
_shared = WeakTensorKeyDictionary()


def plans_of(parameters: Sequence[Tensor]) -> Plans:
    """Return the plans for graphs over these parameters, the same ones for every caller."""
    key = tuple(map(id, parameters))
    by_all: dict[tuple[int, ...], Plans] = _shared.setdefault(parameters[0], {})
    return by_all.setdefault(key, Plans(len(parameters)))
