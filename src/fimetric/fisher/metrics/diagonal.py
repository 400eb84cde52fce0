"""Elementwise whitening."""

from typing import Any

from torch import Tensor

from fimetric.fisher.metrics.base import FisherMetric
from fimetric.fisher.metrics.blocks import Block, LayerNorms, Weighted
from fimetric.fisher.metrics.damping import check_halves, check_regular, check_share, choose
from fimetric.fisher.metrics.moments import Squares
from fimetric.fisher.metrics.reference import Layer, References, contributions
from fimetric.gradients import GradientNorms


class Diagonal(FisherMetric):
    r"""Creates the metric of a diagonal F, drawn towards its mean within each tensor.

    .. math:: F_{aa} = (1 - \lambda) E[g_a^2] + \lambda c_j

    c_j is the mean over the weights that have any gradient on the references: whether a matrix is
    masked makes no difference to the others of its weights.

    Arguments:
        damping: lambda, from 0 to 1; None has it chosen per tensor by the held-out likelihood of
            one half of the references under the other.
        seed: of the halves.

    References:
        Density estimation on gradients whitened by a diagonal F: Model-agnostic out-of-distribution
        detection using combined statistical tests (Bergamin et al., 2022, arXiv 2203.01097)
    """

    def __init__(self, damping: float | None = None, seed: int = 0) -> None:
        self.damping, self.seed = damping, seed

    def settings(self) -> dict[str, Any]:
        """Return damping and seed."""
        return {"damping": self.damping, "seed": self.seed}

    def _fit(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> LayerNorms:
        check_share(self.damping)
        check_halves(self.damping, len(references))
        squares = {name: Squares() for name, layer in layers.items() if layer.live}
        for first, losses in references.read(prefix, "reference: squares"):
            for name, contribution in contributions(norms, losses):
                if name in squares:
                    squares[name].add(contribution, first)
        blocks: dict[str, Block] = {
            name: diagonal_block(found, layers[name], self.damping, name)
            for name, found in squares.items()
        }
        return LayerNorms(norms, layers, blocks, prefix)


def diagonal_block(squares: Squares, layer: Layer, damping: float | None, name: str) -> Weighted:
    """Return the block of F of one tensor.

    Arguments:
        squares: of its gradients' entries.
        layer: its size and its rounding noise.
        damping: share of the mean, None to choose it.
        name: of the tensor, for messages.
    """
    one, other, both = squares.mean(0), squares.mean(1), squares.mean(0, 1)
    live = both > layer.bound / layer.numel
    if damping is None:
        damping = choose(lambda share: _drawn(one, live, share), other, live).share
    F = _drawn(both, live, damping)
    check_regular(F, name)
    return Weighted(F, damping)


def _drawn(squares: Tensor, live: Tensor, share: float) -> Tensor:
    return (1 - share) * squares + share * squares[live].mean()
