"""The values of a row of a table themselves: what is known of it without any model."""

import hashlib
from typing import Any

from torch import Tensor

from fimetric.data import Samples
from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.features.screening import NO_SPREAD
from fimetric.objectives.base import Objective
from fimetric.statistics.base import Statistic


class RowValues(Statistic):
    """Creates the columns of a row of a table, standardised by training rows.

    A density on them shows what a model adds.

    Arguments:
        objective: holds the model; its losses stand beside the values.
        train: own rows (n, D), by whose mean and deviation columns are standardised; the deviation
            of a column without spread counts as 1.

    Raises:
        ValueError: for samples that are no rows of numbers.
    """

    name = "row-values"

    def __init__(self, objective: Objective, train: Samples) -> None:
        super().__init__(objective)
        if len(train.shape) != 1:
            raise ValueError(
                f"{train.name} has samples of shape {train.shape}; rows of tables are (columns,)"
            )
        rows = train.tensor().double()
        self.train = train
        self.mean, self.deviation = rows.mean(0), rows.std(0, correction=0)
        self.deviation[self.deviation <= NO_SPREAD * rows.abs().amax(0)] = 1.0

    @property
    def names(self) -> list[str]:
        """Names of the columns, ``column0`` and so on where they have none."""
        return list(self.train.columns or (f"column{j}" for j in range(self.train.shape[0])))

    def settings(self) -> dict[str, Any]:
        """Return a hash of the training rows."""
        digest = hashlib.sha256(self.train.tensor().float().contiguous().numpy().tobytes())
        return {"train": digest.hexdigest()[:16]}

    def standardised(self, rows: Tensor) -> Tensor:
        """Return rows (N, D) in deviations of their columns, in float64 on the CPU."""
        return (rows.detach().cpu().double() - self.mean) / self.deviation

    def measure(self, x: Input) -> Tensor:
        """Return the values (N, D) of rows x (N, D), in float64."""
        return self.standardised(data_of(x))
