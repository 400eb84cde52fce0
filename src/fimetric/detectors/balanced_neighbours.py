"""Distance to the nearest in-distribution rows, in norms, parts of the loss and code lengths."""

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.base import finite_parts
from fimetric.detectors.code_residual import code_line, codes_among, loss_scale, residual
from fimetric.detectors.nearest_neighbours import NearestNeighbours
from fimetric.features.table import CODE, COSTLY, Features
from fimetric.typing import Array


class BalancedNeighbours(NearestNeighbours):
    r"""Creates the mean squared distance to the nearest fitted rows, all blocks of columns alike.

    .. math:: s(y) = \tfrac1k \sum_{i \in N_k(y)} \sum_b \tfrac{1}{|b|} \sum_{j \in b}
              (z_j - z_{ij})^2, \qquad z_j = (y_j - \mu_j) / \sigma_j

    The blocks b are the log norms with the losses, what the losses consist of, and code lengths of
    the samples (``Objective.parts``) with what of the loss the shortest of them does not tell.
    Norms are many and move together; as plain columns they drown what a few parts of the loss tell.
    A block that a table does not have is left out, and so is a part that is not a number of every
    fitting row; a later row where it is none is scored as +inf.

    Arguments:
        neighbours: k; all rows where there are fewer.

    References:
        Density of States Estimation for Out-of-Distribution Detection (Morningstar et al., 2021),
        arXiv:2006.09273, and Input Complexity and Out-of-distribution Detection with
        Likelihood-based Generative Models (Serra et al., 2020), arXiv:1909.11480, for what stands
        beside the norms; docs/results/blocks.md for how they were put together.
    """

    name = "balanced-neighbours"
    parts = "free"

    parts_: tuple[str, ...]  # those that are numbers of all fitting rows
    scale_: Array  # (2, V) of the losses
    line_: Array  # slope and offset of the loss on the shortest code length

    def _look(self, features: Features) -> None:
        named = zip(features.part_names, features.parts.T, strict=True)
        self.parts_ = tuple(
            name
            for name, numbers in named
            if np.isfinite(numbers).all() and not name.startswith(COSTLY)
        )
        self.scale_, self.line_ = loss_scale(features), np.zeros(2)
        if codes := codes_among(self.parts_):
            self.line_ = code_line(features, self.scale_, codes)

    def _beside(self, features: Features) -> Array:
        """Return losses, parts, and what of the losses code lengths do not tell, (N, L).

        Raises:
            ValueError: where a fitted part is missing.
        """
        parts = features.parts_named(self.parts_)
        finite_parts(features, self.parts_)  # names the first that is not
        columns = [super()._beside(features), parts]
        if codes := codes_among(self.parts_):
            columns.append(residual(features, self.scale_, self.line_, codes)[:, None])
        return np.concatenate(columns, axis=1)

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        super()._fit(y, numels)
        code = [name.startswith(CODE) for name in self.parts_]
        code += [True] * any(code)  # the residual stands beside them
        block = np.concatenate([np.zeros(y.shape[1] - len(code), int), 1 + np.array(code, int)])
        spread = np.isfinite(self.deviation_)  # the others tell nothing, and have no weight
        sizes = np.bincount(block[spread], minlength=3)
        self.deviation_ = self.deviation_ * np.sqrt(sizes[block].clip(1))
        self.rows_ = (y - self.mean_) / self.deviation_
