"""What densities share that compare columns with each other: one scale and one order for all."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from fimetric.detectors.base import LayerDensity
from fimetric.typing import Array


class StandardisedDensity(LayerDensity):
    """Creates a density of standardised columns, (y - mean) / deviation of the fitting rows.

    Columns come in the order of their names and fitting rows in lexical order, so that a method
    that draws random numbers or iterates to a tolerance depends on neither order.
    """

    mean_: Array  # (K,)
    deviation_: Array  # (K,)
    order_: NDArray[np.int64]  # (K,) columns by name

    @abstractmethod
    def _learn(self, z: Array) -> None:
        """Learn from standardised rows (N, K)."""

    @abstractmethod
    def _judge(self, z: Array) -> Array:
        """Return scores (N,) of standardised rows (N, K)."""

    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        self.mean_, self.deviation_ = y.mean(0), y.std(0)
        self.order_ = np.argsort(np.array(self.names_)[self.kept_])
        y = y[:, self.order_]
        self._learn(self._standardised(y[np.lexsort(y.T[::-1])]))

    def _score(self, y: Array) -> Array:
        return self._judge(self._standardised(y[:, self.order_]))

    def _standardised(self, y: Array) -> Array:
        z = (y - self.mean_[self.order_]) / self.deviation_[self.order_]
        return np.ascontiguousarray(z)
