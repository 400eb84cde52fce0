"""What all levels of the Fisher metric have in common: fitted on references, used like norms.

    m(x) = s(x)^T F^-1 s(x),      F = E[s s^T] over reference samples

On samples of the model this F is the Fisher information matrix; on held-out data it is the second
moment of the gradient, also called the empirical Fisher matrix.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from fimetric.extraction.extractor import Extractor
from fimetric.extraction.measures import Norms
from fimetric.extraction.stream import run
from fimetric.extraction.views import column_name, without_draw
from fimetric.features.table import Features
from fimetric.fingerprint.model import watched_fingerprint
from fimetric.fisher.metrics.reference import Layer, References
from fimetric.gradients import GradientNorms
from fimetric.objectives.base import Objective


class Whitened(Norms, Protocol):
    """Squared norms (N, K) of whitened gradients, fitted for one view; rows sum to the metric."""

    @property
    def numels(self) -> list[int]:
        """Number of dimensions behind each of the K columns."""
        ...

    def __call__(self, losses: Tensor, retain_graph: bool = False) -> Tensor:
        """Return (N, K) squared norms."""
        ...


class FisherMetric(ABC):
    """Creates the metric of one level; ``fit`` it before use.

    The constructor only stores. What was learned is in ``fitted_``: name of a view, without its
    draw, -> what measures it. Draws of one view share an F, which is a mean over noise too, so that
    their columns mean the same.
    """

    seed: int
    fitted_: dict[str, Any]

    @abstractmethod
    def _fit(
        self,
        references: References,
        norms: GradientNorms,
        prefix: str,
        layers: dict[str, Layer],
    ) -> Whitened:
        """Learn F of one view.

        Arguments:
            references: the samples.
            norms: reads gradients.
            prefix: the view, without its draw.
            layers: all tensors, those without a gradient too.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what the metric was made with, as values for JSON."""

    def fit(
        self, objective: Objective, data: Any, batch_size: int = 64, progress: bool = True
    ) -> Self:
        """Learn F from reference samples, which are held in memory meanwhile.

        Arguments:
            objective: what is differentiated.
            data: reference samples, some hundreds, whatever ``fimetric.data.batches`` takes:
                samples of the model for the Fisher matrix proper, or held-out data.
            batch_size: samples to a forward pass.
            progress: whether to show progress.

        Raises:
            ValueError: for data that are empty or too few, a sample whose loss or gradient is not
                finite, or a setting out of range.
        """
        references = self._references(objective, data, batch_size, progress)
        norms, fitted = GradientNorms(objective.module), {}
        with torch.no_grad():
            for prefix in references.views:
                layers = references.layers(norms, prefix)
                fitted[prefix] = self._fit(references, norms, prefix, layers)
        self.fitted_, self.objective_ = fitted, objective
        self.fingerprint_ = watched_fingerprint(objective.module)
        self.reference_ = f"{references.digest()} of {objective.describe()}"
        return self

    def _references(
        self, objective: Objective, data: Any, batch_size: int, progress: bool
    ) -> References:
        return References(objective, data, batch_size, self.seed, progress=progress)

    def of(self, view: str | None = None) -> Any:
        """Return what measures a view, which may be left out where there is one only.

        Raises:
            RuntimeError: before ``fit``.
            ValueError: where the view is unknown, or none is named of several.
        """
        self._require_fit()
        if view is None and len(self.fitted_) == 1:
            return next(iter(self.fitted_.values()))
        prefix = None if view is None else without_draw(view)
        if prefix not in self.fitted_:
            known = ", ".join(map(repr, self.fitted_))
            raise ValueError(f"name one of the views {known}; got {view!r}")
        return self.fitted_[prefix]

    def _require_fit(self) -> None:
        if not hasattr(self, "fitted_"):
            raise RuntimeError(f"{type(self).__name__} has learned nothing yet: call fit first")

    @property
    def names(self) -> list[str]:
        """Names of the columns, with the view in front as in ``features``."""
        self._require_fit()
        return [column_name(p, name) for p, fitted in self.fitted_.items() for name in fitted.names]

    def __call__(
        self, losses: Tensor, retain_graph: bool = False, view: str | None = None
    ) -> Tensor:
        """Return squared whitened norms (N, K) of the gradients of losses (N,) of one view.

        A row sums to the metric. What stands for a layer without gradient is exactly zero.

        Arguments:
            losses: (N,), with a graph.
            retain_graph: whether to keep the graph for another use.
            view: of the objective, where it has several.
        """
        return self.of(view)(losses, retain_graph)

    def features(
        self,
        data: Any,
        batch_size: int = 64,
        folder: str | Path | None = None,
        progress: bool = True,
        objective: Objective | None = None,
    ) -> Features:
        """Return the logarithms of the whitened norms, one row per sample.

        Arguments:
            data, batch_size, folder, progress: as ``fimetric.extract`` takes them. A folder with
                features of another metric, or of other references, is refused.
            objective: of the same model, where it is not the one of ``fit``: a flow's own samples
                are not dequantised, its data are.

        Raises:
            RuntimeError: before ``fit``.
            ValueError: where the model has changed, or the objective has other views; and as
                ``fimetric.extract``.
        """
        return run(MetricExtractor(self, objective), data, batch_size, folder, progress)

    def describe(self) -> str:
        """Return the metric in words that change when it does."""
        settings = "".join(f"{name}={value}, " for name, value in self.settings().items())
        return f"{type(self).__name__}({settings}reference={getattr(self, 'reference_', None)})"


class MetricExtractor(Extractor):
    """Turns one batch after another into features of whitened norms.

    Arguments:
        metric: fitted.
        objective: of the metric's model; the one that it was fitted with, if None.
    """

    def __init__(self, metric: FisherMetric, objective: Objective | None = None) -> None:
        metric._require_fit()
        super().__init__(metric.objective_ if objective is None else objective)
        self.metric = metric
        if watched_fingerprint(self.objective.module) != metric.fingerprint_:
            raise ValueError(
                "the metric was fitted to another model, or to other weights of it; fit it again"
            )
        found = {without_draw(view) for view in self.objective.views()}
        if found != set(metric.fitted_):
            raise ValueError(
                f"the metric was fitted to the views {sorted(metric.fitted_)}, the objective has "
                f"{sorted(found)}"
            )

    def words(self) -> str:
        """Return what is measured."""
        return f"{self.objective.describe()} in the metric {self.metric.describe()}"

    def norms_of(self, prefix: str) -> Norms:
        """Return what is measured in a view, named without its draw."""
        return self.metric.of(prefix)

    def numels_of(self, prefix: str) -> list[int]:
        """Return the number of dimensions behind each column."""
        return self.metric.of(prefix).numels
