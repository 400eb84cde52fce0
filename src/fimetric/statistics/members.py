"""Several objectives as one, for the statistics that ask more than one model."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from fimetric.data.batch import Input
from fimetric.data.spec import Spec
from fimetric.objectives.base import Losses, Objective


class Members(Objective):
    """Creates the first of several objectives, over the modules of all.

    Its samples and losses are the first one's; whoever hashes its module hashes all of them.

    Arguments:
        members: one at least, on one device.
    """

    def __init__(self, members: Sequence[Objective]) -> None:
        super().__init__(self.forward, nn.ModuleList(m.module for m in members), members[0].seed)
        self.members = nn.ModuleList(members)

    @property
    def _first(self) -> Objective:
        return cast(Objective, self.members[0])

    @property
    def spec(self) -> Spec | None:
        """What the samples of the first must look like."""
        return self._first.spec

    def views(self) -> dict[str, Losses]:
        """Return the views of the first."""
        first = self._first
        return {view: partial(first.losses, view) for view in first.views()}

    def prepare(self, samples: Sequence[Any]) -> Input:
        """Return samples as the first takes them."""
        return self._first.prepare(samples)

    def dimensions(self, batch: Input) -> Tensor:
        """Return the number of dimensions of each sample (N,), as the first counts them."""
        return self._first.dimensions(batch)

    def describe(self) -> str:
        """Return what all of them are, with their seeds."""
        members = cast(Iterable[Objective], self.members)
        return " + ".join(f"{m.describe()} (seed {m.seed})" for m in members)

    def _cast(self, batch: Input) -> Input:
        return batch  # each member casts to its own format
