"""Second moments of gradients and of their factors, by halves of the references.

Letters: G = sum_t u_t v_t^T the gradient of a matrix, O and I its sides.
"""

import torch
from torch import Tensor

from fimetric.fisher.metrics.blocks import bytes_per_sample, slices, square, turned
from fimetric.gradients import Contribution, Factors
from fimetric.gradients.checks import rounding_bound
from fimetric.gradients.contributions import widened

HALVES = (0, 1)


class Squares:
    """Sums the squares of a tensor's entries, perhaps after a turn as ``turned`` makes it."""

    def __init__(self, left: Tensor | None = None, right: Tensor | None = None) -> None:
        self.left, self.right = left, right
        self.sums: list[Tensor] = []
        self.counts = [0, 0]

    def add(self, contribution: Contribution, first: Tensor) -> None:
        """Take the gradients of n samples, and which of them (n,) are of the first half."""
        for rows, part in slices(contribution, bytes_per_sample(contribution)):
            squares = square(turned(part, self.left, self.right).dense())
            if not self.sums:
                self.sums = [torch.zeros_like(squares[0]) for _ in HALVES]
            for half, chosen in enumerate((first[rows], ~first[rows])):
                self.sums[half] += squares[chosen.to(squares.device)].sum(0)
                self.counts[half] += int(chosen.sum())

    def mean(self, *halves: int) -> Tensor:
        """Return the mean squares over one half or over both, of the shape of a gradient."""
        total = sum(self.counts[half] for half in halves)
        return torch.stack([self.sums[half] for half in halves]).sum(0) / max(total, 1)


class Side:
    """Eigenvectors and eigenvalues of the second moment of one side's factors.

    Arguments:
        moment: (n, n) in float64, or its diagonal (n,) where the whole is too large: the unit
            vectors then stand for the eigenvectors.
        like: a factor, whose format and device the eigenvectors get.
    """

    def __init__(self, moment: Tensor, like: Tensor) -> None:
        if moment.dim() == 1:
            self.values, self.basis = moment.cpu(), torch.ones_like(moment).to(like)
        else:
            values, basis = torch.linalg.eigh(moment.cpu())
            noise = torch.finfo(torch.float64).eps * len(values) ** 0.5 * values[-1]
            self.values = torch.where(values > noise, values, 0.0)  # rounding may leave any sign
            self.basis = basis.to(like)

    def damped(self, share: float) -> Tensor:
        """Return the eigenvalues (n,), ``share`` of them being their mean, in float64."""
        return (1 - share) * self.values + share * self.values.mean()

    def whitener(self, share: float) -> Tensor:
        """Return W (n, n), or its diagonal (n,), with W W^T the inverse of the damped moment."""
        return self.basis * self.damped(share).rsqrt().to(self.basis)


class Moments:
    """Sums the outer products of the factors of a matrix's gradients.

    expand: B = E[sum_t u_t u_t^T] and A the mean of v_t v_t^T over samples and positions, as if
        each position were a sample of its own.
    reduce: B of sum_t u_t, and A of the mean of v_t over t, as if a sample were one position.

    Arguments:
        reduce: whether to.
        largest_side: of longer sides only the diagonal is kept.

    Where all positions of a side cancel (gradients below a normalisation sum to zero), ``reduce``
    knows nothing of it, and rounding noise must not stand for it: the side is then taken for round.

    References:
        Kronecker-Factored Approximate Curvature for Modern Neural Network Architectures
        (Eschenhagen, Immer, Turner, Schneider and Hennig, 2023, arXiv 2311.00636)
    """

    def __init__(self, reduce: bool, largest_side: int) -> None:
        self.reduce, self.largest_side = reduce, largest_side
        self.left: list[Tensor] = []
        self.right: list[Tensor] = []
        self.samples, self.rows = [0, 0], [0, 0]
        self.noise = [[0.0, 0.0], [0.0, 0.0]]  # of B and A by halves: squares that are rounding

    def add(self, contribution: Contribution, first: Tensor) -> None:
        """Take the gradients of n samples, and which of them (n,) are of the first half.

        Gradients that come written out have no factors to tell, and are passed over.
        """
        if not isinstance(contribution, Factors):
            return
        for rows, part in slices(contribution, bytes_per_sample(contribution)):
            u, v = widened(part.u), widened(part.v)
            if self.reduce:
                self._add_noise(torch.finfo(part.u.dtype).eps, u, v, first[rows])
                u, v = u.sum(1, keepdim=True), v.mean(1, keepdim=True)
            if not self.left:
                self.like = u.new_empty(0)
                self.left = [self._zeros(u) for _ in HALVES]
                self.right = [self._zeros(v) for _ in HALVES]
            for half, chosen in enumerate((first[rows], ~first[rows])):
                self._add(half, u[chosen.to(u.device)], v[chosen.to(u.device)])

    def _add(self, half: int, u: Tensor, v: Tensor) -> None:
        for sums, factors in ((self.left, u), (self.right, v)):
            x = factors.flatten(0, 1).double()
            sums[half] += x.T @ x if sums[half].dim() == 2 else x.square().sum(0)
        self.samples[half] += len(u)
        self.rows[half] += v.shape[:2].numel()

    def _add_noise(self, eps: float, u: Tensor, v: Tensor, first: Tensor) -> None:
        """Add up what rounding leaves of each sample's sum over positions."""
        for noise, sizes in (
            (self.noise[0], u.norm(dim=2).sum(1)),
            (self.noise[1], v.norm(dim=2).mean(1)),
        ):
            squares = rounding_bound(sizes.double(), eps)
            for half, chosen in enumerate((first, ~first)):
                noise[half] += float(squares[chosen.to(squares.device)].sum())

    def _zeros(self, x: Tensor) -> Tensor:
        n = x.shape[2]  # in float64: float32 sums would drown eigenvalues that damping lets live
        shape = (n, n) if n <= self.largest_side else (n,)
        return x.new_zeros(shape, dtype=torch.float64)

    def sides(self, scale: float, *halves: int) -> tuple[Side, Side]:
        """Return the sides of B and of A over one half or over both.

        Arguments:
            scale: mean square of an entry of the gradients; a side without anything but noise is
                round, and as large as makes this the mean of A kron B.
            halves: which.
        """
        samples = max(1, sum(self.samples[half] for half in halves))
        rows = max(1, sum(self.rows[half] for half in halves))
        B = torch.stack([self.left[half] for half in halves]).sum(0) / samples
        A = torch.stack([self.right[half] for half in halves]).sum(0) / rows
        noise = [sum(side[half] for half in halves) / samples for side in self.noise]
        dead = [bound > 0 and _trace(M) <= bound for M, bound in zip((B, A), noise, strict=True)]
        if dead[1]:
            A = _round(A, 1.0 if dead[0] else scale / _mean(B))
        if dead[0]:
            B = _round(B, scale / _mean(A))
        return Side(B, self.like), Side(A, self.like)


def _trace(moment: Tensor) -> float:
    """Return the sum of the eigenvalues of a matrix, or of a diagonal."""
    return float((moment if moment.dim() == 1 else moment.diagonal()).sum())


def _mean(moment: Tensor) -> float:
    return _trace(moment) / len(moment)


def _round(moment: Tensor, size: float) -> Tensor:
    """Return ``size`` times the unit matrix, or its diagonal, in the form of ``moment``."""
    unit = torch.ones_like(moment) if moment.dim() == 1 else torch.eye(len(moment)).to(moment)
    return size * unit
