"""What every density on features keeps: fit on in-distribution rows, high scores are anomalous."""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fimetric.features import screening
from fimetric.features.table import COSTLY, Features
from fimetric.typing import Array

logger = logging.getLogger(__name__)


class NotExplainableError(RuntimeError):
    """Raised where a density's score does not split over the layers."""


class Density(ABC):
    """Creates a score of the rows of ``Features``, fitted on in-distribution rows only.

    A new density needs ``fit`` and ``score``. Its constructor only stores its arguments, under
    their own names; what it learns are attributes that end in an underscore: arrays, or what JSON
    can hold. Then ``state`` and ``from_state`` work without further code.
    """

    name: ClassVar[str]
    """Name in the registry."""
    joint: ClassVar[bool] = False
    """Whether a detector describes a group by its joint gradient, as the paper does; else by the
    mean of its samples' rows, which told more with neighbours of norms and losses."""
    parts: str | None = None
    """Which parts of the losses it reads, so that a detector extracts them: ``"free"``, those that
    one forward pass tells, ``"costly"``, all, or none. They stand in ``Features.group_parts``; a
    part that is not finite makes no row strange, so what it means is the density's to say."""
    gradient: bool = True
    """Whether it reads norms. Where it does not, a detector takes no gradient, and the tables that
    it makes have no columns."""

    @abstractmethod
    def fit(self, features: Features) -> Self:
        """Learn from in-distribution rows.

        Raises:
            ValueError: where a row is not finite (naming sample and layer) or too little is left.
        """

    @abstractmethod
    def score(self, features: Features) -> Array:
        """Return scores (N,), higher = more anomalous; +inf for a row that is not finite.

        Raises:
            ValueError: where a fitted column is missing.
            RuntimeError: before ``fit``.
        """

    def read(self, features: Features) -> Features:
        """Return a table without the norms and the parts of the loss that it does not read."""
        if not self.gradient:
            features = features.with_columns(np.empty((len(features), 0)), ())
        if self.parts == "costly":
            return features
        free = [name for name in features.part_names if not name.startswith(COSTLY)]
        return features.with_parts(free if self.parts else ())

    def explain(self, features: Features) -> Array:
        """Return what each column adds to the score, (N, J); rows sum to the score.

        Columns that were left out or never fitted add 0. In a row that is not finite the columns
        at fault are +inf, or all of them where it is the loss.

        Raises:
            NotExplainableError: where the score does not split over the columns.
        """
        raise NotExplainableError(
            f"the score of {self.name!r} is no sum over layers; to see layers use a density that "
            "is, such as 'layerwise-gaussian'"
        )

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return all that ``from_state`` needs: named arrays, and values for JSON."""
        learned = {key: value for key, value in vars(self).items() if key.endswith("_")}
        arrays = {key: value for key, value in learned.items() if isinstance(value, np.ndarray)}
        others = {key: value for key, value in learned.items() if key not in arrays}
        settings = {key: getattr(self, key) for key in inspect.signature(type(self)).parameters}
        return arrays, {"density": self.name, "settings": settings, "learned": others}

    @classmethod
    def from_state(cls, arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> Self:
        """Return the density whose ``state`` this is; its scores are the same to the bit.

        Raises:
            ValueError: where the state is another density's.
        """
        if description.get("density") != cls.name:
            raise ValueError(
                f"this is the state of {description.get('density')!r}, not of {cls.name!r}; "
                "use fimetric.detectors.from_state, which looks the name up"
            )
        density = cls(**description["settings"])
        vars(density).update(arrays)
        for key, value in description["learned"].items():
            setattr(density, key, tuple(value) if isinstance(value, list) else value)
        declared = {name for kind in cls.__mro__ for name in vars(kind).get("__annotations__", ())}
        if lost := {name for name in declared if name.endswith("_")} - vars(density).keys():
            raise ValueError(
                f"this state of {cls.name!r} has no {', '.join(sorted(lost))}: another version of "
                "fimetric wrote it; fit the detector again"
            )
        return density

    def _require_fit(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            raise RuntimeError(f"{type(self).__name__} has learned nothing yet: call fit first")


class LayerDensity(Density):
    """Creates a density of the columns; a subclass sees a clean (N, K) array of those kept.

    Layers that are rounding noise or constant in the fitting data are left out (see
    ``screening.informative``); a later zero counts as the rounding bound of its layer.
    """

    names_: tuple[str, ...]  # J fitted columns
    kept_: NDArray[np.bool_]  # (J,) those that are scored
    floor_: Array  # (K,) log rounding bounds

    @abstractmethod
    def _fit(self, y: Array, numels: NDArray[np.int64]) -> None:
        """Learn from the kept log norms (N, K) and the sizes (K,) of their layers."""

    def _look(self, features: Features) -> None:
        """Learn from fitting rows, which are clean, what ``_beside`` needs; nothing here."""

    def _terms(self, y: Array) -> Array:
        """Return (N, K): what each kept column adds to the score."""
        raise NotImplementedError

    def _beside(self, features: Features) -> Array:
        """Return further columns (N, L) that are no layer and stand behind the kept ones in y."""
        return np.zeros((len(features), 0))

    def _score(self, y: Array) -> Array:
        return self._terms(y).sum(1)

    def fit(self, features: Features) -> Self:
        """Learn from in-distribution rows, N >= 2; see ``Density.fit``."""
        kept = screening.informative(features)
        self._look(features)
        self.names_, self.kept_ = features.names, kept
        self.floor_ = screening.log_bounds(features)[kept]
        y = np.concatenate([features.values[:, kept], self._beside(features)], axis=1)
        self._fit(np.ascontiguousarray(y), features.numels[kept])
        return self

    def score(self, features: Features) -> Array:
        """Return scores (N,), higher = more anomalous; see ``Density.score``."""
        y, fine, _ = self._prepare(features)
        scores = np.full(len(features), np.inf)
        with np.errstate(over="ignore", invalid="ignore"):
            scores[fine] = self._score(y)
        scores[np.isnan(scores)] = np.inf  # inf - inf, after an overflow
        return scores

    def explain(self, features: Features) -> Array:
        """Return what each column adds to the score, (N, J); see ``Density.explain``."""
        if type(self)._terms is LayerDensity._terms:
            return super().explain(features)
        y, fine, table = self._prepare(features)
        fitted = np.zeros_like(table.values)
        with np.errstate(over="ignore", invalid="ignore"):
            terms = self._terms(y)
        K = len(self.floor_)  # what stands beside the layers is shared out among them
        fitted[np.ix_(fine, self.kept_)] = terms[:, :K] + terms[:, K:].sum(1, keepdims=True) / K
        fault = ~np.isfinite(table.values) & (self.kept_ | screening.strange_values(table))
        fault[~fault.any(1)] = True  # then it is the loss
        fitted[~fine] = np.where(fault[~fine], np.inf, 0.0)
        shares = np.zeros_like(features.values)
        places = {name: j for j, name in enumerate(features.names)}
        shares[:, [places[name] for name in self.names_]] = fitted
        return shares

    def _prepare(self, features: Features) -> tuple[Array, NDArray[np.bool_], Features]:
        """Return the kept values of the finite rows, which rows these are, the fitted columns."""
        self._require_fit("names_")
        table = features.columns(self.names_)
        y = np.maximum(table.values[:, self.kept_], self.floor_)
        y = np.concatenate([y, self._beside(features)], axis=1)
        fine = finite_rows(table) & np.isfinite(y).all(1)
        return np.ascontiguousarray(y[fine]), fine, table


class LossDensity(Density):
    """Creates a score of the mean loss of each group, mean over the views; layers play no part."""

    gradient = False

    @abstractmethod
    def _fit(self, loss: Array) -> None:
        """Learn from mean losses (N,) in nats."""

    @abstractmethod
    def _score(self, loss: Array) -> Array:
        """Return scores (N,) of mean losses (N,) in nats."""

    def fit(self, features: Features) -> Self:
        """Learn from in-distribution rows, N >= 1; see ``Density.fit``.

        Raises:
            ValueError: for a table without rows.
        """
        if len(features) == 0:
            raise ValueError("cannot fit a density to 0 rows; pass at least one")
        screening.refuse_strange(features)
        self._fit(features.group_losses.mean(1))
        return self

    def score(self, features: Features) -> Array:
        """Return scores (N,), higher = more anomalous; see ``Density.score``."""
        fine = finite_rows(features)
        scores = np.full(len(features), np.inf)
        scores[fine] = self._score(features.select(fine).group_losses.mean(1))
        return scores


def finite_rows(features: Features) -> NDArray[np.bool_]:
    """Mark the rows (N,) that are not strange; a warning in the log names the first that is."""
    found = screening.describe_strange(features)
    if found:
        logger.warning("scored as +inf: %s", found)
    return ~screening.strange(features)


def finite_parts(features: Features, names: Sequence[str]) -> NDArray[np.bool_]:
    """Mark the rows (N,) with numbers for all these parts; a warning names the first without.

    Raises:
        ValueError: where the table lacks one.
    """
    parts = features.parts_named(names)
    fine = np.isfinite(parts)
    rows, columns = np.nonzero(~fine)
    if len(rows):
        logger.warning(
            "scored as +inf: sample %s, part %r: %s",
            ", ".join(map(repr, features.group_ids(int(rows[0])))),
            names[columns[0]],
            parts[rows[0], columns[0]],
        )
    return np.asarray(fine.all(1))
