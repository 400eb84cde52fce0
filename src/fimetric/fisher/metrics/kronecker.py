"""Whitening by Kronecker factors, or in their eigenbasis."""

import logging
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from fimetric.fisher.metrics.base import FisherMetric
from fimetric.fisher.metrics.blocks import Block, Factored, LayerNorms, Weighted
from fimetric.fisher.metrics.damping import (
    Choice,
    check_halves,
    check_regular,
    check_share,
    choose,
)
from fimetric.fisher.metrics.diagonal import diagonal_block
from fimetric.fisher.metrics.moments import Moments, Side, Squares
from fimetric.fisher.metrics.reference import Layer, References, contributions
from fimetric.gradients import Factors, GradientNorms

log = logging.getLogger(__name__)
Kind = Literal["expand", "reduce", "ekfac"]


class Kronecker(FisherMetric):
    r"""Creates the metric of F_j = sigma A kron B for a matrix with gradients G = sum_t u_t v_t^T.

    .. math:: f_j = |B^{-1/2} G A^{-1/2}|^2 / \sigma

    ``expand`` and ``reduce`` differ in how A and B sum over the positions t (see ``Moments``), and
    are the same at T = 1, where A kron B is F if u and v are independent. Both are damped: a share
    lambda of their eigenvalues is the mean of these. ``ekfac`` takes the eigenbasis of expand and
    in it a diagonal F: measured, a share lambda' being that of expand. Which side of a matrix is
    called u makes no difference, so convolutions and transposed ones go the same way. Tensors whose
    gradients are no sums of outer products (biases, groups of channels, ties of different kinds)
    are whitened as by ``Diagonal``.

    Arguments:
        kind: ``expand``, ``reduce`` or ``ekfac``.
        damping: lambda and lambda', from 0 to 1, sigma being 1; None has all three chosen per
            tensor by the held-out likelihood of one half of the references under the other.
        largest_side: a side of A or B longer than this is whitened by its diagonal alone; the
            eigenvectors of 4,096 take about a minute.
        seed: of the halves.

    References:
        Kronecker-Factored Approximate Curvature for Modern Neural Network Architectures
        (Eschenhagen, Immer, Turner, Schneider and Hennig, 2023, arXiv 2311.00636);
        Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis
        (George, Laurent, Bouthillier, Ballas and Vincent, 2018, arXiv 1806.03884)
    """

    def __init__(
        self,
        kind: Kind = "ekfac",
        damping: float | None = None,
        largest_side: int = 4096,
        seed: int = 0,
    ) -> None:
        self.kind, self.damping, self.largest_side, self.seed = kind, damping, largest_side, seed

    def settings(self) -> dict[str, Any]:
        """Return all that was set."""
        return {
            "kind": self.kind,
            "damping": self.damping,
            "largest_side": self.largest_side,
            "seed": self.seed,
        }

    def _fit(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> LayerNorms:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        check_share(self.damping)
        check_halves(self.damping, len(references))
        moments, squares = self._moments(references, norms, prefix, layers)
        if squares:
            plain, total = len(squares), len(moments) + len(squares)
            log.info("no factors, so whitened as by Diagonal: %d of %d tensors", plain, total)
        matrices = {
            name: Matrix(m, layers[name].scale, self.kind == "ekfac", self.damping is None)
            for name, m in moments.items()
        }
        if any(matrix.turns for matrix in matrices.values()):
            for first, losses in references.read(prefix, "reference: squares in the eigenbasis"):
                for name, contribution in contributions(norms, losses):
                    for turn in matrices[name].turns if name in matrices else ():
                        turn.add(contribution, first)
        blocks: dict[str, Block] = {
            name: matrix.block(layers[name], self.damping, name)
            for name, matrix in matrices.items()
        }
        for name, found in squares.items():
            blocks[name] = diagonal_block(found, layers[name], self.damping, name)
        return LayerNorms(norms, layers, blocks, prefix)

    def _moments(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> tuple[dict[str, Moments], dict[str, Squares]]:
        """Return the moments of the factors, and those of the tensors that have none."""
        moments: dict[str, Moments] = {}
        squares: dict[str, Squares] = {}
        for first, losses in references.read(prefix, "reference: factors"):
            for name, contribution in contributions(norms, losses):
                if not layers[name].live:
                    continue
                if name not in moments and name not in squares:
                    if isinstance(contribution, Factors):
                        moments[name] = Moments(self.kind == "reduce", self.largest_side)
                    else:
                        squares[name] = Squares()
                found = moments[name] if name in moments else squares[name]
                found.add(contribution, first)
        return moments, squares


class Matrix:
    """Finds the block of F of one matrix.

    ``turns`` have to see all references: in the eigenbasis of one half, where damping is chosen,
    and in that of both.

    Arguments:
        moments: of the factors.
        scale: mean square of an entry of the gradients.
        eigenbasis: whether to measure the diagonal of F in the eigenbasis.
        choosing: whether to choose the damping.
    """

    def __init__(self, moments: Moments, scale: float, eigenbasis: bool, choosing: bool) -> None:
        self.sides = moments.sides(scale, 0, 1)
        self.whole = Squares(*(side.basis for side in self.sides)) if eigenbasis else None
        self.halved, self.turn = None, None
        if choosing:
            self.halved = moments.sides(scale, 0)
            self.turn = Squares(*(side.basis for side in self.halved))
        self.turns = [turn for turn in (self.whole, self.turn) if turn is not None]

    def block(self, layer: Layer, damping: float | None, name: str) -> Block:
        """Return the block of F."""
        product = measured = Choice(1.0 if damping is None else damping)
        if self.halved is not None and self.turn is not None:
            product, measured = self._choices(self.halved, self.turn, layer)
        if self.whole is None:
            return _factored(self.sides, product, name)
        squares, simpler = self.whole.mean(0, 1).double().cpu(), _product(self.sides, product)
        F = _mixed(squares, simpler, measured.share)
        check_regular(F, name)
        left, right = (side.basis for side in self.sides)
        return Weighted(F.to(left), measured.share, left, right)

    def _choices(
        self, sides: tuple[Side, Side], turn: Squares, layer: Layer
    ) -> tuple[Choice, Choice]:
        """Return damping and factor of A kron B, and its share in the measured diagonal."""
        one, other = (turn.mean(half).double().cpu() for half in (0, 1))
        live = turn.mean(0, 1).cpu() > layer.bound / layer.numel
        product = choose(lambda share: _product(sides, Choice(share)), other, live, scaled=True)
        if self.whole is None:
            return product, product
        simpler = _product(sides, product)
        return product, choose(lambda share: _mixed(one, simpler, share), other, live)


def _product(sides: tuple[Side, Side], choice: Choice) -> Tensor:
    """Return the eigenvalues (O, I) of sigma A kron B, damped."""
    left, right = (side.damped(choice.share) for side in sides)
    return choice.factor * torch.outer(left, right)


def _mixed(measured: Tensor, simpler: Tensor, share: float) -> Tensor:
    return (1 - share) * measured + share * simpler


def _factored(sides: tuple[Side, Side], choice: Choice, name: str) -> Factored:
    F = _product(sides, choice)
    check_regular(F, name)
    left, right = (side.whitener(choice.share) for side in sides)
    noise = float(F.reciprocal().mean())
    return Factored(left * choice.factor**-0.5, right, choice.share, noise)
