"""No samples mixed: a sample whose loss depends on others has no gradient of its own."""

from torch import Tensor

from fimetric.gradients.contributions import Contribution
from fimetric.gradients.graph import Graph
from fimetric.gradients.plan import Plan, Tap

MANY = 6  # samples from which on chance does not put all of them into blocks of their own
# Products: operand that may have a row per sample -> its edge
ROWS = {
    "AddmmBackward0": {"mat1": 1},
    "BmmBackward0": {"self": 0, "mat2": 1},
    "ConvolutionBackward0": {"input": 0},
    "MmBackward0": {"self": 0},
}


class MixedSamplesError(RuntimeError):
    """The loss of one sample depends on other samples of the batch."""


class MixingInspector:
    """Watches what enters parameter-only subgraphs for tensors that hold the samples themselves.

    A tensor made from parameters alone is shared by all samples. If most of the gradient of every
    sample falls into that sample's own block of the tensor, it holds samples, and an operation
    above it (batch statistics, in-batch negatives) has mixed them. By chance that happens with
    probability N^-N at most; with few samples and many tensors that is not nothing, so there the
    tensor must come from a product with something that has a row per sample as well.
    """

    def __init__(self, graph: Graph, samples: int) -> None:
        self.graph, self.samples = graph, samples

    def __call__(self, tap: Tap, contribution: Contribution) -> None:
        """Inspect one contribution (N, *shape).

        Raises:
            MixedSamplesError: where each sample's gradient falls into a block of its own.
        """
        assert tap.root is not None  # the reader hands on nothing else
        if self.samples < 3 or not self._may_hold_data(tap.root[0]):
            return
        squares = contribution.dense().abs().square()
        for dim in range(1, squares.dim()):
            if squares.shape[dim] % self.samples == 0 and self._diagonal(squares, dim):
                raise MixedSamplesError(
                    _told(self.graph, tap.node, "each sample's loss depends on the other samples")
                )

    def _diagonal(self, squares: Tensor, dim: int) -> bool:
        """Return whether most of each sample's energy lies in its own block along ``dim``."""
        N = self.samples
        along = squares.movedim(dim, 1).reshape(N, squares.shape[dim], -1).sum(2)
        for blocks in (along.unflatten(1, (N, -1)).sum(2), along.unflatten(1, (-1, N)).sum(1)):
            if (blocks.diagonal() > 0.5 * blocks.sum(1)).all():
                return True
        return False

    def _may_hold_data(self, root: int) -> bool:
        """Return whether some operation below takes an operand that is no parameter."""
        stack, seen = [root], set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if self.samples >= MANY:
                found = any(edge is None for edge in self.graph.edges[node])
                found = found and not self._by_a_number(node)
            else:
                found = self._multiplies_rows(node)
            if found:
                return True
            stack += [edge[0] for edge in self.graph.edges[node] if edge is not None]
        return False

    def _by_a_number(self, node: int) -> bool:
        """Return whether the operand that is no parameter is a single number."""
        other = getattr(self.graph.nodes[node], "_saved_other", None)
        return isinstance(other, Tensor) and other.dim() == 0

    def _multiplies_rows(self, node: int) -> bool:
        """Return whether the node multiplies by a tensor with a multiple of N rows."""
        edges = self.graph.edges[node]
        for name, edge in ROWS.get(self.graph.name(node), {}).items():
            rows = getattr(self.graph.nodes[node], f"_saved_{name}")
            if edges[edge] is None and rows is not None and len(rows) % self.samples == 0:
                return True
        return False


def refuse_batch_statistics(graph: Graph, plan: Plan, samples: int) -> None:
    """Refuse operations that say themselves that they mix the samples of a batch.

    Raises:
        MixedSamplesError: naming the operation.
    """
    for node, taps in plan.taps.items() if samples > 1 else ():
        operation = graph.nodes[node]
        if getattr(operation, "_saved_scale_grad_by_freq", False):
            raise MixedSamplesError(
                _told(graph, node, "scale_grad_by_freq counts the tokens of the whole batch")
            )
        if not getattr(operation, "_saved_training", False):
            continue
        saved = getattr(operation, "_saved_input", None)
        below = any(tap.input == 0 for tap in taps)
        first = saved is not None and graph.edges[node][0] is None and saved.shape[0] > 1
        if below or first:
            why = "it normalises with the statistics of the batch; call model.eval()"
            raise MixedSamplesError(_told(graph, node, why))


def _told(graph: Graph, node: int, why: str) -> str:
    return (
        f"{graph.name(node)} mixes the samples of a batch, so a sample has no gradient of its own: "
        f"{why}"
    )
