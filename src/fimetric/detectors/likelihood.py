"""The negative log-likelihood itself."""

from fimetric.detectors.base import LossDensity
from fimetric.typing import Array


class Likelihood(LossDensity):
    """Creates the mean loss of a group, in nats: unlikely samples are taken for anomalous ones.

    It learns nothing. Deep generative models are known to find some other data *more* likely.

    References:
        Do Deep Generative Models Know What They Don't Know?
        (Nalisnick, Matsukawa, Teh, Gorur, Lakshminarayanan, 2019), arXiv:1810.09136
    """

    name = "likelihood"

    def _fit(self, loss: Array) -> None:
        pass

    def _score(self, loss: Array) -> Array:
        return loss
