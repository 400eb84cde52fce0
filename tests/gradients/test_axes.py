"""What the rules say of a graph against what its gradients show."""

import pytest
import torch
from zoo import ZOO

from fimetric.gradients.axes import carry
from fimetric.gradients.colouring import colour
from fimetric.gradients.graph import read_graph
from fimetric.gradients.layout import Layout, Uncoloured
from fimetric.gradients.plan import samples_or_both


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
    if isinstance(said, Layout) and isinstance(seen, Layout):
        return (said.dim, said.outer, said.inner) == (
            seen.dim,
            seen.outer,
            seen.inner,
        ) or not seen.sure
    return seen in (Uncoloured.UNKNOWN, Uncoloured.ABSENT) or said is seen


@pytest.mark.parametrize("name", ZOO)
def test_rules_say_what_gradients_show(name):
    torch.manual_seed(0)
    module, batch, losses = ZOO[name]()
    parameters = [p for p in module.parameters() if p.requires_grad]
    graph, found, shown, probed = carried(losses(batch), parameters)
    for node, said in found.colours.items():
        for a, b in zip(said, shown[node], strict=True):
            assert alike(a, b) or node in probed, (graph.name(node), graph.shapes(node), a, b)
