"""Inner products of all reference gradients, and sums of them, without holding them all.

K_nm = sum_j <g_nj, g_mj> / c_j          (n, n)
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fimetric.fisher.metrics.blocks import bytes_per_sample, slices
from fimetric.fisher.metrics.reference import Layer, References, contributions
from fimetric.gradients import Contribution, GradientNorms
from fimetric.gradients.contributions import widened

Held = list[tuple[slice, dict[str, Tensor]]]


class Gram:
    """Reads reference gradients of the tensors that have any, as one long vector z per reference.

        z_j = g_j / sqrt(c_j)

    Arguments:
        references: the samples.
        norms: reads gradients.
        prefix: the view, without its draw.
        layers: all tensors.
        budget: bytes of gradients to hold. Where it is less than all take, each block that fits
            costs another reading of the references that come after it.
    """

    def __init__(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
        budget: int,
    ) -> None:
        self.references, self.norms, self.prefix, self.budget = references, norms, prefix, budget
        self.scales = {name: layer.scale for name, layer in layers.items() if layer.live}
        self.size = len(references) * len(references.views[prefix])
        self.eps = 0.0  # rounding unit of the gradients, once they have been read

    def products(self) -> tuple[Tensor, Tensor]:
        """Return K (n, n) in float64, and which references (n,) are of the first half."""
        K = torch.zeros(self.size, self.size, dtype=torch.float64)
        half = torch.zeros(self.size, dtype=torch.bool)
        done = 0
        while done < self.size:
            held: Held = []
            room, start = self.budget, 0
            for first, losses in self.references.read(self.prefix, "reference: inner products"):
                rows = slice(start, start + len(losses))
                start, half[rows] = rows.stop, first
                if start <= done:
                    continue
                keep = not held or (room > 0 and held[-1][0].stop == rows.start)
                taken = self._against(held, rows, losses, K, keep)
                room -= taken
            done = held[-1][0].stop
        return K, half

    def _against(self, held: Held, rows: slice, losses: Tensor, K: Tensor, keep: bool) -> int:
        """Fill the products of one batch with those held; return the bytes if it is held too."""
        mine: dict[str, Tensor] = {}
        if keep:
            held.append((rows, mine))
        for name, z in self._vectors(losses):
            if keep:
                mine[name] = z
            for others, theirs in held:
                product = (theirs[name] @ z.T).double().cpu() / self.scales[name]
                K[others, rows] += product
                if others != rows:
                    K[rows, others] += product.T
        return sum(z.numel() * z.element_size() for z in mine.values())

    def combinations(self, weights: Tensor) -> dict[str, Tensor]:
        """Return sum_n w_rn z_n for weights (r, n): tensor -> (r, numel).

        Complex entries count as two real ones.
        """
        found: dict[str, Tensor] = {}
        start = 0
        for _, losses in self.references.read(self.prefix, "reference: directions"):
            mine = weights[:, start : start + len(losses)]
            start += len(losses)
            for name, z in self._vectors(losses):
                part = mine.to(z) @ z * self.scales[name] ** -0.5
                found[name] = found[name] + part if name in found else part
        return found

    def _vectors(self, losses: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield tensor -> gradients as real vectors (n, numel), not scaled yet."""
        for name, contribution in contributions(self.norms, losses):
            if name in self.scales:
                z = vectors(contribution)
                self.eps = max(self.eps, torch.finfo(z.dtype).eps)
                yield name, z


def vectors(contribution: Contribution) -> Tensor:
    """Return gradients as real vectors, (N, numel); of complex entries both parts."""
    dense = contribution.dense()
    dense = torch.view_as_real(dense) if dense.is_complex() else widened(dense)
    return dense.reshape(len(dense), -1)


def projections(contribution: Contribution, directions: Tensor) -> Tensor:
    """Return the inner products of gradients with directions (r, numel), (N, r)."""
    size = bytes_per_sample(contribution)
    parts = [vectors(part) @ directions.T for _, part in slices(contribution, size)]
    return torch.cat(parts)
