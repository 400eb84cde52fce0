"""What the rules say of a graph against what its gradients show."""

import pytest
import torch
from zoo import ZOO

from fimetric.gradients.axes import carry
from fimetric.gradients.colouring import colour
from fimetric.gradients.graph import read_graph
from fimetric.gradients.layout import Axis, Layout, Uncoloured, owner_of_rows
from fimetric.gradients.plan import samples_or_both

SIZE = 120  # rows that are compared where a formula gives any number of them


def carried(losses, parameters):
    """Return what the rules say without a probe, and what probes say of the same nodes."""
    graph = read_graph(losses, parameters)
    wanted = samples_or_both(graph)
    shown = colour(graph, losses, wanted)
    open_ = {}

    def probe(nodes):
        open_.update({k: shown[k] for k in nodes})
        return {k: shown[k] for k in nodes}

    return graph, carry(graph, losses, wanted, frozenset(), probe), shown, open_


def alike(said, seen):
    """Whether they agree where both know."""
    if not isinstance(said, Axis) or not isinstance(seen, Axis):
        return seen in (Uncoloured.UNKNOWN, Uncoloured.ABSENT) or said is seen
    one, other = (owner_of_rows(layout, SIZE) for layout in (said, seen))
    if len(one.unique()) == 1:  # all of it is one sample's, along whichever axis
        return torch.equal(one.unique(), other.unique())
    if said.dim != seen.dim:
        return isinstance(seen, Layout) and not seen.sure
    size = min(len(one), len(other))
    known = (one[:size] >= 0) & (other[:size] >= 0)
    return bool((one[:size] == other[:size])[known].all())


@pytest.mark.parametrize("name", ZOO)
def test_rules_say_what_gradients_show(name):
    torch.manual_seed(0)
    module, batch, losses = ZOO[name]()
    parameters = [p for p in module.parameters() if p.requires_grad]
    graph, found, shown, probed = carried(losses(batch), parameters)
    for node, said in found.colours.items():
        for a, b in zip(said, shown[node], strict=True):
            assert alike(a, b) or node in probed, (graph.name(node), graph.shapes(node), a, b)
