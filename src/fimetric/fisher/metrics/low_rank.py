"""Whitening by principal directions over all parameters.

    F = C^1/2 (U D U^T + lambda I) C^1/2,      C = blockdiag(c_j I)

C brings layers of very different scale to one, so that lambda damps them alike: the entries of
z = C^-1/2 g have a mean square of one in every layer.
"""

import math
from typing import Any

import torch
from torch import Tensor

from fimetric.fisher.metrics.base import FisherMetric
from fimetric.fisher.metrics.blocks import log_dead, widest
from fimetric.fisher.metrics.damping import check_halves
from fimetric.fisher.metrics.gram import Gram, projections
from fimetric.fisher.metrics.reference import Layer, References, contributions
from fimetric.gradients import GradientNorms
from fimetric.gradients.engine import Measured
from fimetric.objectives.base import Objective

LEAST = 1e-6  # lambda, in mean squares of an entry


class LowRank(FisherMetric):
    r"""Creates the metric of r principal directions over all parameters, and one scale beside.

    .. math:: m = \sum_i \frac{\langle u_i, z \rangle^2}{d_i + \lambda}
                  + \frac{|z|^2 - \sum_i \langle u_i, z \rangle^2}{\lambda}

    with one column per direction and the second term as ``rest``; d_i is what a direction's mean
    square has above lambda, 0 at least, so that F is lambda everywhere else. The directions are
    combinations of n reference gradients, found through their Gram matrix, so nothing of size P x P
    is made.
    Rank and lambda are those under which gradients of the other half of the references are most
    likely, as in probabilistic principal component analysis: at a given rank the best lambda is the
    mean square of what the directions leave of those gradients.

    Arguments:
        rank: largest number of directions.
        references: largest number of reference samples that take part, the first ones.
        damping: lambda, 1 being the mean square of an entry; None has it and the rank chosen.
        seed: of the halves.
        budget: bytes of reference gradients to hold at a time; the less, the longer it takes.

    References:
        Probabilistic Principal Component Analysis (Tipping and Bishop, 1999, Journal of the Royal
        Statistical Society B 61)
    """

    def __init__(
        self,
        rank: int = 32,
        references: int = 512,
        damping: float | None = None,
        seed: int = 0,
        budget: int = 1 << 30,
    ) -> None:
        self.rank, self.references, self.damping, self.seed = rank, references, damping, seed
        self.budget = budget

    def settings(self) -> dict[str, Any]:
        """Return all that was set and changes the metric."""
        return {
            "rank": self.rank,
            "references": self.references,
            "damping": self.damping,
            "seed": self.seed,
        }

    def _references(
        self, objective: Objective, data: Any, batch_size: int, progress: bool
    ) -> References:
        """Take some of the data, in batches whose gradients fit.

        Raises:
            ValueError: for a rank below 0, or references below 1.
        """
        if self.rank < 0 or self.references < 1:
            raise ValueError(
                f"rank is {self.rank} and references {self.references}; they must be at least 0 "
                "and 1"
            )
        numel = sum(p.numel() for p in objective.module.parameters() if p.requires_grad)
        batch_size = max(1, min(batch_size, self.budget // (8 * max(numel, 1))))
        return References(objective, data, batch_size, self.seed, self.references, progress)

    def _fit(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> "Subspace":
        check_halves(self.damping, len(references))
        if self.damping is not None and not self.damping > 0:
            raise ValueError(f"damping is {self.damping}; it must be above 0, or None")
        gram = Gram(references, norms, prefix, layers, self.budget)
        K, first = gram.products()
        P = sum(layer.numel for layer in layers.values() if layer.live)
        rank, damping = self.rank, self.damping
        if damping is None:
            rank, damping = choose_rank(K, first, P, rank, gram.eps)
        variances, weights = principal(K, rank, gram.eps)
        directions = orthonormal(gram.combinations(weights))
        return Subspace(norms, layers, directions, variances, damping, P, prefix)


def principal(K: Tensor, rank: int, eps: float) -> tuple[Tensor, Tensor]:
    """Return the r largest variances and the directions they lie in, r <= ``rank``.

    Arguments:
        K: (n, n) inner products of n vectors.
        rank: how many at most; those within rounding noise are left out.
        eps: rounding unit of the vectors.

    Returns:
        (r,) mean squares along unit vectors u_i = sum_n w_in z_n, and the weights w, (r, n).
    """
    values, vectors = torch.linalg.eigh(K / len(K))
    values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
    kept = values > 1e3 * eps * values[:1]
    values, vectors = values[kept], vectors[:, kept]
    return values, (vectors / (len(K) * values).sqrt()).T


def choose_rank(K: Tensor, first: Tensor, P: int, rank: int, eps: float) -> tuple[int, float]:
    """Return rank and lambda under which one half's gradients make the other's most likely.

    At rank r, with S_i the held-out mean square along direction i and R that of the rest,

        sum_i (S_i / max(l_i, lambda) + log max(l_i, lambda)) + R / lambda + (P - r) log lambda

    is least at lambda = R / (P - r), as long as this is below all l_i; where it is not, a lower
    rank does the same.

    Arguments:
        K: (n, n) inner products of all references.
        first: (n,) which are of the first half.
        P: dimensions.
        rank: largest rank.
        eps: rounding unit of the gradients.
    """
    variances, weights = principal(K[first][:, first], rank, eps)
    along = (weights @ K[first][:, ~first]).square().mean(1)
    whole = K.diagonal()[~first].mean()
    best, least = (0, 1.0), float("inf")
    for r in range(min(len(variances), P) + 1):
        rest = float((whole - along[:r].sum()).clamp_min(0))
        damping = max(rest / (P - r), LEAST) if r < P else LEAST
        variance = variances[:r].clamp_min(damping)
        loss = float((along[:r] / variance + variance.log()).sum())
        loss += rest / damping + (P - r) * math.log(damping) if r < P else 0.0
        if loss < least:
            best, least = (r, damping), loss
    return best


def orthonormal(directions: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return directions, tensor -> (r, numel), made orthonormal: the Gram matrix costs digits."""
    products = torch.stack([v.double() @ v.T.double() for v in directions.values()]).sum(0).cpu()
    if not len(products):
        return directions
    root = torch.linalg.cholesky(products)
    inverse = torch.linalg.solve_triangular(root, torch.eye(len(root)).to(root), upper=False)
    return {name: inverse.to(v) @ v for name, v in directions.items()}


class Subspace:
    """Coordinates along some directions and what they leave, whitened, for one view.

    Arguments:
        norms: reads gradients.
        layers: all tensors.
        directions: tensor -> (r, numel), orthonormal over all of them.
        variances: (r,) mean squares of the references along them.
        damping: lambda.
        dimensions: P, entries of the tensors that have a gradient.
        prefix: the view, for the log.
    """

    def __init__(
        self,
        norms: GradientNorms,
        layers: dict[str, Layer],
        directions: dict[str, Tensor],
        variances: Tensor,
        damping: float,
        dimensions: int,
        prefix: str = "",
    ) -> None:
        self._norms, self.layers, self.directions = norms, layers, directions
        self.variances, self.damping = variances.clamp_min(damping), damping
        self.rank = len(variances)
        self.names = [*(f"direction={i}" for i in range(self.rank)), "rest"]
        self.numels = [*(1 for _ in range(self.rank)), dimensions - self.rank]
        log_dead(layers, prefix)

    def __call__(self, losses: Tensor, retain_graph: bool = False) -> Tensor:
        """Return (N, r + 1) squared norms."""
        return self._whitened(losses, retain_graph)[0]

    def measure(self, losses: Tensor) -> Measured:
        """Return the same with bounds on their rounding noise; the graph is kept."""
        limits = self._norms.measure(losses).bound.double()
        table, whole = self._whitened(losses, retain_graph=True)
        bound = torch.zeros_like(table, dtype=torch.float64)
        for j, (name, layer) in enumerate(self.layers.items()):
            if layer.live:
                noise = limits[:, j] / layer.scale
                share = self.directions[name].double().square().sum(1) / layer.numel
                bound[:, :-1] += noise[:, None] * share
                bound[:, -1] += noise
        bound[:, -1] += 64 * torch.finfo(table.dtype).eps * whole  # what a difference leaves
        if not self.numels[-1]:
            bound[:, -1] = 0
        return Measured(table, (bound / self._scales(bound)).to(table))

    @torch.no_grad()
    def _whitened(self, losses: Tensor, retain_graph: bool) -> tuple[Tensor, Tensor]:
        """Return the table and the squared norms of z, (N,)."""
        along = losses.new_zeros(len(losses), self.rank, dtype=torch.float64)
        whole = losses.new_zeros(len(losses), dtype=torch.float64)
        formats = []
        for name, contribution in contributions(self._norms, losses, retain_graph):
            layer, norms = self.layers[name], contribution.squared_norms()
            formats.append(norms.dtype)
            whole += norms.double() * (1 / layer.scale if layer.live else 0.0)
            if layer.live:
                scaled = layer.scale**-0.5
                along += projections(contribution, self.directions[name]).double() * scaled
        rest = (whole - along.square().sum(1)).clamp_min(0) * (self.numels[-1] > 0)
        table = torch.cat([along.square(), rest[:, None]], 1)
        return (table / self._scales(table)).to(widest(formats)), whole

    def _scales(self, like: Tensor) -> Tensor:
        """Return the variances and lambda, (r + 1,)."""
        return torch.cat([self.variances, self.variances.new_tensor([self.damping])]).to(like)
