"""The loss, less what a general-purpose compressor needs."""

from typing import Self

import numpy as np

from fimetric.detectors.base import Density, finite_rows
from fimetric.features import screening
from fimetric.features.table import Features
from fimetric.typing import Array

SMALLEST = "min"


class InputComplexity(Density):
    r"""Creates the loss less the code length of a sample, both in nats: a likelihood ratio.

    .. math:: s(x) = \ell(x) - L(x)

    A model finds simple data likely whatever they are; the compressor stands for a model of images
    in general. The table is one of ``fimetric.statistics.CodeLengths``. Nothing is learned.

    Arguments:
        column: the compressor, ``png``, ``jpeg2000`` or ``zlib``; or ``min`` for the shortest of
            all columns of the table, sample by sample.

    References:
        Input complexity and out-of-distribution detection with likelihood-based generative models
        (Serra, Alvarez, Gomez, Slizovskaia, Nunez and Luque, 2020), arXiv:1909.11480
    """

    name = "input-complexity"

    names_: tuple[str, ...]  # columns that are compared

    def __init__(self, column: str = "png") -> None:
        self.column = column

    def fit(self, features: Features) -> Self:
        """Take note of the columns, N >= 1; see ``Density.fit``.

        Raises:
            ValueError: for a table without rows, or without the column.
        """
        if len(features) == 0:
            raise ValueError("cannot fit a density to 0 rows; pass at least one")
        names = features.names if self.column == SMALLEST else (self.column,)
        if not set(names) <= set(features.names):
            raise ValueError(
                f"no column {self.column!r} in {features!r}; 'input-complexity' needs a table of "
                "fimetric.statistics.CodeLengths"
            )
        screening.refuse_strange(features)
        self.names_ = names
        return self

    def score(self, features: Features) -> Array:
        """Return scores (N,) in nats; see ``Density.score``."""
        self._require_fit("names_")
        lengths = features.columns(self.names_).values.min(1)
        scores = np.full(len(features), np.inf)
        fine = finite_rows(features)
        scores[fine] = features.group_losses.mean(1)[fine] - lengths[fine]
        return scores
