"""What several models, trained alike from different seeds, say of a sample."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from fimetric.data.batch import Input
from fimetric.objectives.base import Losses, Objective
from fimetric.statistics.base import Statistic


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
        super().__init__(_Members(members))
        self.members = members

    @property
    def names(self) -> list[str]:
        """``member0`` and so on."""
        return [f"member{m}" for m in range(len(self.members))]

    def measure(self, x: Input) -> Tensor:
        """Return the losses (N, M) of x (N, ...)."""
        return torch.stack([member(x).double() for member in self.members], 1)


class _Members(Objective):
    """The first of several objectives, over the modules of all: whoever hashes it hashes all."""

    def __init__(self, members: list[Objective]) -> None:
        super().__init__(self.forward, nn.ModuleList(m.module for m in members), members[0].seed)
        self.members = nn.ModuleList(members)

    def views(self) -> dict[str, Losses]:
        first = cast(Objective, self.members[0])
        return {view: partial(first.losses, view) for view in first.views()}

    def dimensions(self, batch: Input) -> Tensor:
        return cast(Objective, self.members[0]).dimensions(batch)

    def describe(self) -> str:
        members = cast(Iterable[Objective], self.members)
        return " + ".join(f"{m.describe()} (seed {m.seed})" for m in members)

    def _cast(self, batch: Input) -> Input:
        return batch  # each member casts to its own format
