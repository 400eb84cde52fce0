"""The typicality test."""

import numpy as np

from fimetric.detectors.base import LossDensity
from fimetric.typing import Array


class Typicality(LossDensity):
    r"""Creates the distance of a group's mean loss from the mean in-distribution loss, in nats.

    .. math:: s = | \tfrac1B \sum_b \ell(x_b) - \hat H |

    References:
        Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality
        (Nalisnick, Matsukawa, Teh, Lakshminarayanan, 2019), arXiv:1906.02994
    """

    name = "typicality"

    mean_: float  # the in-distribution mean loss, H

    def _fit(self, loss: Array) -> None:
        self.mean_ = float(loss.mean())

    def _score(self, loss: Array) -> Array:
        self._require_fit("mean_")
        return np.abs(loss - self.mean_)
