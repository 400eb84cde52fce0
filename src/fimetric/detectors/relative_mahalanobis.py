"""A Gaussian of the hidden states, against one of texts in general."""

from typing import Self

import numpy as np

from fimetric.detectors.base import Density
from fimetric.detectors.full_gaussian import FullGaussian
from fimetric.features import screening
from fimetric.features.table import Features
from fimetric.typing import Array

BACKGROUND = "background"


class RelativeMahalanobis(FullGaussian):
    r"""Creates the score of ``FullGaussian`` on all columns but one, less that one.

    .. math:: s(y) = - \log p(y) + \log p_0(y)

    The column is minus the log density under a Gaussian of a background set, in nats, as
    ``fimetric.statistics.HiddenStates(objective, background)`` gives it. With the squared
    Mahalanobis distances :math:`d^2, d_0^2` to both, s is :math:`\tfrac12 (d^2 - d_0^2)` and a
    constant. Nothing is learned of the column.

    Arguments:
        background: its name.

    References:
        A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection (Ren, Fort, Liu, Roy,
        Padhy and Lakshminarayanan, 2021), arXiv:2106.09022
        Out-of-Distribution Detection and Selective Generation for Conditional Language Models
        (Ren, Luo, Zhao, Krishna, Saleh, Lakshminarayanan and Liu, 2022), arXiv:2209.15558
    """

    name = "relative-mahalanobis"

    def __init__(self, background: str = BACKGROUND) -> None:
        self.background = background

    def fit(self, features: Features) -> Self:
        """Learn from in-distribution rows, N >= 2; see ``Density.fit``.

        Raises:
            ValueError: where the column is not there, or no other one.
        """
        others = [name for name in features.names if name != self.background]
        if not 0 < len(others) < len(features.names):
            raise ValueError(
                f"no column {self.background!r} beside others in {features!r}; "
                "'relative-mahalanobis' needs a table of "
                "fimetric.statistics.HiddenStates(objective, background)"
            )
        screening.refuse_strange(features)
        return super().fit(features.columns(others))

    def score(self, features: Features) -> Array:
        """Return scores (N,) in nats; see ``Density.score``."""
        scores = super().score(features)
        background = features.columns([self.background]).values[:, 0]
        fine = np.isfinite(background)
        return np.where(fine, scores - np.where(fine, background, 0), np.inf)

    def explain(self, features: Features) -> Array:
        """Raise: what is taken off is of all columns together."""
        return Density.explain(self, features)
