"""The score test and the maximum mean discrepancy, on gradients whitened by a diagonal F."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.extraction.views import column_name, without_draw
from fimetric.features.table import Features
from fimetric.fingerprint.model import watched_fingerprint
from fimetric.fisher.metrics.blocks import LayerNorms, bytes_per_sample, slices, square
from fimetric.fisher.metrics.diagonal import Diagonal
from fimetric.fisher.metrics.reference import Layer, References, contributions
from fimetric.gradients import GradientNorms
from fimetric.gradients.contributions import widened
from fimetric.objectives.base import Objective
from fimetric.statistics.base import Statistic

KINDS = ("score", "mmd")


class WhitenedGradient(Statistic):
    r"""Creates the logarithms of Rao's score statistic and of the Fisher kernel's discrepancy.

    With :math:`\phi(x) = F^{-1/2} \nabla \ell(x)`, F diagonal,

    .. math:: \text{score} = \log |\phi(x)|^2, \qquad
              \text{mmd} = \log |\phi(x) - \tfrac1n \textstyle\sum_i \phi(x_i)|^2

    F and the mean are taken over in-distribution reference samples when the statistic is made, at
    three gradient passes over them. Tensors without a gradient there are left out. A view of the
    objective has two columns, ``t=3/score`` and ``t=3/mmd``; of draws the logarithms are averaged.
    ``CombinedTests(columns=("score",))`` or ``("mmd",)`` joins one of them with the typicality of
    the loss, as the paper does.

    Arguments:
        objective: what is differentiated.
        reference: in-distribution samples, some hundreds, whatever ``fimetric.data.batches`` takes.
        damping: share of each tensor's mean in F, see ``fisher.Diagonal``; chosen per tensor by the
            held-out likelihood of one half of the references if None. A tiny one is next to the
            paper's, which adds a constant to F.
        batch_size: samples of the reference to a forward pass.
        seed: of the halves.
        progress: whether to show it while the references are read.

    Raises:
        ValueError: as ``FisherMetric.fit``, for references that are empty, too few or not finite.

    References:
        Model-agnostic out-of-distribution detection using combined statistical tests (Bergamin,
        Mattei, Havtorn, Senetaire, Schmutz, Maaloe, Hauberg and Frellsen, 2022, arXiv 2203.01097)
    """

    name = "whitened-gradient"

    def __init__(
        self,
        objective: Objective,
        reference: Any,
        damping: float | None = None,
        batch_size: int = 64,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        super().__init__(objective)
        self.metric = CentredDiagonal(damping, seed).fit(objective, reference, batch_size, progress)
        self._norms = GradientNorms(objective.module)

    @property
    def names(self) -> list[str]:
        """``score`` and ``mmd`` of each view, draws left out."""
        return [column_name(prefix, kind) for prefix in self.metric.fitted_ for kind in KINDS]

    def settings(self) -> dict[str, Any]:
        """Return the damping, and what F was measured on."""
        return {**self.metric.settings(), "reference": self.metric.reference_}

    def features(
        self,
        data: Any,
        batch_size: int = 64,
        folder: str | Path | None = None,
        progress: bool = True,
    ) -> Features:
        """Return the table of a data set, see ``Statistic.features``.

        Raises:
            ValueError: where the model has changed since F was measured, too.
        """
        if watched_fingerprint(self.objective.module) != self.metric.fingerprint_:
            raise ValueError("the model has changed since its F was measured; make it again")
        return super().features(data, batch_size, folder, progress)

    def measure(self, x: Input) -> Tensor:
        """Return the statistics (N, K) of x (N, ...), in float64."""
        draws: dict[str, list[Tensor]] = {prefix: [] for prefix in self.metric.fitted_}
        for view in self.objective.views():
            with torch.enable_grad():
                losses = self.objective.losses(view, x)
            prefix = without_draw(view)
            draws[prefix].append(self._squares(prefix, losses).log())
        return torch.cat([torch.stack(each).mean(0) for each in draws.values()], 1)

    def _squares(self, prefix: str, losses: Tensor) -> Tensor:
        """Return |phi|^2 and |phi - mean phi|^2, (N, 2), in float64, one tensor at a time."""
        blocks, means = self.metric.of(prefix).blocks, self.metric.means_[prefix]
        total = torch.zeros(len(losses), len(KINDS), dtype=torch.float64, device=losses.device)
        for name, contribution in contributions(self._norms, losses):
            if name not in means:
                continue
            for rows, part in slices(contribution, bytes_per_sample(contribution)):
                g = widened(part.dense())
                for k, vector in enumerate((g, g - means[name])):
                    total[rows, k] += (square(vector) / blocks[name].F).flatten(1).sum(1).double()
        return total


class CentredDiagonal(Diagonal):
    """The diagonal metric with the mean gradient of its references, at one more pass over them."""

    means_: dict[str, dict[str, Tensor]]  # view -> tensor that has a gradient -> its mean

    def fit(
        self, objective: Objective, data: Any, batch_size: int = 64, progress: bool = True
    ) -> Self:
        """Learn F and the mean gradient; see ``FisherMetric.fit``."""
        self.means_ = {}
        return super().fit(objective, data, batch_size, progress)

    def _fit(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> LayerNorms:
        sums: dict[str, Tensor] = {}
        count = 0
        for _, losses in references.read(prefix, "reference: mean"):
            count += len(losses)
            for name, contribution in contributions(norms, losses):
                if layers[name].live:
                    for _, part in slices(contribution, bytes_per_sample(contribution)):
                        total = widened(part.dense()).sum(0)
                        sums[name] = sums[name] + total if name in sums else total
        self.means_[prefix] = {name: total / count for name, total in sums.items()}
        return super()._fit(references, norms, prefix, layers)
