"""What every statistic keeps: samples in, K named numbers of each out, as ``Features``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fimetric.data import Batch, to_device
from fimetric.data.batch import Input
from fimetric.extraction.alone import Checks, refuse_dependent
from fimetric.extraction.probing import make_probe
from fimetric.extraction.provenance import difference
from fimetric.extraction.stream import run
from fimetric.features.probe import Probe
from fimetric.features.table import Features
from fimetric.fingerprint.model import watched_fingerprint
from fimetric.fingerprint.structure import state, unsteady
from fimetric.gradients.contributions.costs import Costs
from fimetric.objectives.base import Objective
from fimetric.objectives.steadiness import unchanged
from fimetric.objectives.untold import refuse_untold, untold


class Statistic(ABC):
    """Creates an extractor of K numbers of a sample that the gradients' norms are no part of.

    A new one needs ``names``, ``measure`` and, if it takes settings, ``settings``. The losses of
    the objective stand in the same table, for whoever compares with them.

    Arguments:
        objective: holds the model; its losses are what the model thinks of a sample.
    """

    name: ClassVar[str]
    """Name of the statistic."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the K columns."""

    @abstractmethod
    def measure(self, x: Input) -> Tensor:
        """Return the numbers (N, K) of samples x (N, ...), each of its own sample alone."""

    def settings(self) -> dict[str, Any]:
        """Return what the statistic was made with, as values for JSON."""
        return {}

    def features(
        self,
        data: Any,
        batch_size: int = 64,
        folder: str | Path | None = None,
        progress: bool = True,
    ) -> Features:
        """Return the table of a data set, one row per sample.

        Arguments:
            data, batch_size, folder, progress: as ``fimetric.extract`` takes them.

        Raises:
            ValueError: for empty or non-finite data, or a folder with features of something else.
            RuntimeError: where a sample's numbers depend on the rest of its batch.
        """
        if folder is not None:
            refuse_untold(self.objective)
            self._refuse_untold()
        return run(StatisticExtractor(self), data, batch_size, folder, progress)

    def _refuse_untold(self) -> None:
        if names := untold(self):
            raise ValueError(
                f"{type(self).__name__} takes {', '.join(names)}, and nothing that is written "
                "would tell one from another: define settings(self), which returns these arguments "
                "as values for JSON"
            )

    def describe(self) -> str:
        """Return what is measured, in words that change when it does."""
        settings = ", ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"{self.name}({settings}) of {self.objective.describe()}"


class StatisticExtractor:
    """Turns one batch after another into features; three samples of the first are checked alone."""

    group_size = 1
    costs: Costs | None = None  # no norms are taken

    def __init__(self, statistic: Statistic) -> None:
        self.statistic = statistic
        self.fingerprint = ""  # learned from the first batch, as all below
        self.unsteady: tuple[str, ...] = ()
        self._before = state(statistic.objective)  # of before the first forward pass
        self.probe: Probe | None = None
        self._learned, self._checks = False, Checks()

    @property
    def objective(self) -> Objective:
        """The objective whose model the batches go through."""
        return self.statistic.objective

    def words(self) -> str:
        """Return what is measured."""
        return self.statistic.describe()

    def difference(self, features: Features) -> str:
        """Return in words what else a table was made from; empty where it was this."""
        if features.group_size != 1:
            return f"groups of {features.group_size}"
        return difference(features, self.statistic.objective, self.words())

    def bounds(self, reference: Sequence[Input]) -> np.ndarray:
        """Return zeros (K,): the numbers are no norms."""
        return np.zeros(len(self.statistic.names))

    def __call__(self, batch: Batch) -> Features:
        """Return the features of one batch."""
        objective = self.statistic.objective
        x = to_device(batch.x, next(objective.module.parameters()).device)
        with torch.no_grad():
            with nullcontext() if self._learned else unchanged(objective):
                losses = {view: objective.losses(view, x) for view in objective.views()}
            values = self._measure(x)
            if alone := self._checks.alone(objective, batch):
                refuse_dependent(self._measure, alone, values, self.statistic.names)
            self._checks.passed(batch)
            if not self._learned:
                self._learned = True
                self.unsteady = unsteady(objective, objective.module, self._before)
                self.fingerprint = watched_fingerprint(objective, self.unsteady)
                self.probe = make_probe(objective, x)
        names = self.statistic.names
        return Features(
            values=values,
            names=tuple(names),
            losses=torch.stack(list(losses.values()), 1).double().cpu().numpy(),
            views=tuple(view or "loss" for view in losses),
            ids=tuple(batch.ids),
            bounds=np.zeros(len(names)),
            numels=np.ones(len(names), dtype=np.int64),
            dimensions=objective.dimensions(x).cpu().numpy(),
            objective=self.words(),
            fingerprint=self.fingerprint,
            unsteady=self.unsteady,
            seed=objective.seed,
            probe=self.probe,
        )

    def _measure(self, x: Input) -> np.ndarray:
        return self.statistic.measure(x).double().cpu().numpy()
