"""What several models, trained alike from different seeds, say of a sample."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives.base import Objective
from fimetric.statistics.base import Statistic
from fimetric.statistics.members import Members


class EnsembleLosses(Statistic):
    """Creates the losses of M members of an ensemble, mean over each one's views.

    They are in nats where the loss is a likelihood or its bound; denoising losses are not.

    The table's own losses are those of the first member, so it shows what one model would say, and
    its fingerprint is that of all. ``WAIC`` is the score of it that the paper proposes.

    Arguments:
        objectives: M >= 2, of one kind, on one device.

    Raises:
        ValueError: where there are fewer than two.

    References:
        WAIC, but Why? Generative Ensembles for Robust Anomaly Detection (Choi, Jang and Alemi,
        2018, arXiv 1810.01392)
    """

    name = "ensemble-losses"

    def __init__(self, objectives: Sequence[Objective]) -> None:
        members = list(objectives)
        if len(members) < 2:
            raise ValueError(f"an ensemble has at least two members, not {len(members)}")
        super().__init__(Members(members))
        self.members = members

    @property
    def names(self) -> list[str]:
        """``member0`` and so on."""
        return [f"member{m}" for m in range(len(self.members))]

    def measure(self, x: Input) -> Tensor:
        """Return the losses (N, M) of x (N, ...)."""
        return torch.stack([member(x).double() for member in self.members], 1)
