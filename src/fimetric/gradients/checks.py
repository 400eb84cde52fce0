"""Checks, not trust: one sample against plain autograd, and no samples mixed.

Two gradients count as equal where their squared norms a and b obey
|a - b| <= rtol b + (64 eps S)^2, S the sum of the norms of the terms that were added up. Where
terms cancel to a structural zero (the bias of a convolution before a normalisation) both are
rounding noise below that bound, and no relative tolerance could hold.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, squared_norms
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
ROUNDING = 64.0  # in units of eps times the sum of the terms' norms


class MixedSamplesError(RuntimeError):
    """The loss of one sample depends on other samples of the batch."""


def refuse_hidden_parameters(graph: Graph) -> None:
    """Raise RuntimeError where a part of the graph hides its parameters from the walk."""
    for node in range(len(graph.nodes)):
        if graph.name(node) == "CheckpointFunctionBackward":
            raise RuntimeError(
                "reentrant checkpointing hides the parameters from the graph: call "
                "torch.utils.checkpoint.checkpoint(..., use_reentrant=False)"
            )
    if not graph.reached[graph.root]:
        raise ValueError(
            "the losses use none of the parameters, so there is no gradient to measure"
        )


def rounding_bound(scale: Tensor, eps: float) -> Tensor:
    """Return the squared norm below which a gradient cannot be told from rounding noise."""
    return (ROUNDING * eps * scale) ** 2


def coarsest_eps(graph: Graph, parameters: Sequence[Tensor]) -> float:
    """Return the rounding unit of the least precise number format that the graph computes in."""
    kinds = {m.dtype for node in graph.nodes for m in node._input_metadata}
    kinds |= {p.dtype for p in parameters}
    return max(torch.finfo(k).eps for k in kinds if k.is_floating_point or k.is_complex)


def check_sample(
    losses: Tensor,
    table: Tensor,
    bound: Tensor,
    named: dict[str, Tensor],
    eps: float,
    sample: int,
) -> None:
    """Compare one sample of the table with plain autograd on the same graph, tensor by tensor.

    Arguments:
        losses: (N,), with a graph, which is kept.
        table: (N, J) squared norms.
        bound: (N, J) or (J,) squared norms that are rounding noise.
        named: the J parameters.
        eps: rounding unit of the coarsest number format.
        sample: which to compare.

    Raises:
        RuntimeError: naming the first tensor that differs.
    """
    found = torch.autograd.grad(
        losses[sample], list(named.values()), retain_graph=True, allow_unused=True
    )
    # Devices with reduced-precision products, such as TF32, have less than their format says.
    rtol = 3 * eps**0.5 if losses.device.type == "cpu" else max(1e-2, 3 * eps**0.5)
    for j, (name, g) in enumerate(zip(named, found, strict=True)):
        expected = 0.0 if g is None else float(squared_norms(g.unsqueeze(0)))
        got = float(table[sample, j])
        if not math.isfinite(expected):  # another sample's NaN spoils what autograd adds up
            continue
        if not abs(got - expected) <= rtol * expected + float(bound.expand_as(table)[sample, j]):
            raise RuntimeError(
                f"the squared gradient norm of {name!r} for sample {sample} is {got:.6g} by the "
                f"engine but {expected:.6g} by torch.autograd; please report this model. "
                "fimetric.gradients.reference computes it by the plain loop."
            )


class MixingInspector:
    """Watches what enters parameter-only subgraphs for tensors that hold the samples themselves.

    A tensor made from parameters alone is shared by all samples. If most of the gradient of every
    sample falls into that sample's own block of the tensor, it holds samples, and an operation
    above it (batch statistics, in-batch negatives) has mixed them. By chance that happens with
    probability N^-N at most; with few samples and many tensors that is not nothing, so there the
    tensor must come from a product with something that has a row per sample as well.
    """

    def __init__(self, graph: Graph, plan: Plan, samples: int) -> None:
        self.graph, self.samples = graph, samples
        for node in plan.taps:
            self._refuse_batch_statistics(node, plan.taps[node])

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
                self._refuse(tap.node, "each sample's loss depends on the other samples")

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

    def _refuse_batch_statistics(self, node: int, taps: list[Tap]) -> None:
        operation = self.graph.nodes[node]
        if getattr(operation, "_saved_scale_grad_by_freq", False) and self.samples > 1:
            self._refuse(node, "scale_grad_by_freq counts the tokens of the whole batch")
        if not getattr(operation, "_saved_training", False) or self.samples == 1:
            return
        saved = getattr(operation, "_saved_input", None)
        below = any(tap.input == 0 for tap in taps)
        first = saved is not None and self.graph.edges[node][0] is None and saved.shape[0] > 1
        if below or first:
            self._refuse(node, "it normalises with the statistics of the batch; call model.eval()")

    def _refuse(self, node: int, why: str) -> None:
        raise MixedSamplesError(
            f"{self.graph.name(node)} mixes the samples of a batch, so a sample has no gradient "
            f"of its own: {why}"
        )
