"""Length must not decide: what a row has as it would be if all samples were of one length.

    y'_j = m_j(x_0) + (y_j - m_j(x)) s_j(x_0) / s_j(x),      x = log T

T is the number of dimensions that a loss is a sum over, such as the predicted tokens of a text; m_j
and s_j are the mean and the deviation of column j among in-distribution rows, see
``fimetric.features.smooth``. Of a loss y is the loss per dimension, of a code length its logarithm,
since it is never negative; log norms and parts of the loss are taken as they are. x_0 is the mean
of log T: what comes out is all at that length.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fimetric.features.screening import log_bounds, refuse_strange, strange_values
from fimetric.features.smooth import KNOTS, fitted, hats
from fimetric.features.table import CODE, Features
from fimetric.typing import Array

logger = logging.getLogger(__name__)
FEWEST = 20  # rows: ten for each number that a line takes
SAME = 1e-9  # logarithms of lengths that differ by rounding alone
NAMES = ("names", "part_names", "log_parts")


def lengths(table: Features) -> Array:
    """Return the length T of each row (N,), of a group the mean of its samples'."""
    return table.dimensions.reshape(len(table), table.group_size).mean(1)


@dataclass(frozen=True, eq=False)
class LengthTrend:
    """How the columns and losses of in-distribution rows depend on their length.

    Arguments:
        names: of the J columns.
        reference: the length that rows are brought to.
        knots: (K,) logarithms of lengths.
        norms: (K, J) means of the columns at the knots.
        norm_slopes: (J,) slopes of the logarithms of their deviations.
        losses: (K, V) means of the losses per dimension.
        loss_slopes: (V,) slopes of theirs.
        part_names: of the P parts of the losses.
        parts: (K, P) means of the parts.
        part_slopes: (P,) slopes of theirs.
        log_parts: names of those parts of which the logarithms are meant.
        floor: (J,) logarithms of the rounding bounds; a later zero counts as its column's.
        noise: (J,) columns that were rounding noise in some row.
    """

    names: tuple[str, ...]
    reference: int
    knots: Array
    norms: Array
    norm_slopes: Array
    losses: Array
    loss_slopes: Array
    part_names: tuple[str, ...]
    parts: Array
    part_slopes: Array
    log_parts: tuple[str, ...]
    floor: Array
    noise: NDArray[np.bool_]

    @classmethod
    def fit(cls, table: Features) -> Self | None:
        """Learn from in-distribution rows; None where they are of one length, or too few.

        Too few are told by a warning in the log.

        Raises:
            ValueError: where a row is not finite, naming sample and layer.
        """
        logs = np.log(table.dimensions)
        each, x = _of_rows(logs, table)
        if not len(x) or np.ptp(x) <= SAME:
            return None
        if len(table) < FEWEST:
            logger.warning(
                "the %d rows to fit on differ in length and are too few to tell what it changes "
                "(%d are the least): norms are compared as they are",
                len(table),
                FEWEST,
            )
            return None
        refuse_strange(table)
        floor, knots = log_bounds(table), np.linspace(logs.min(), logs.max(), KNOTS)
        noise = np.asarray((table.values <= floor).any(0))
        norms, norm_slopes = fitted(
            _design(each, knots), x, np.where(noise, 0.0, table.values).astype(np.float64)
        )
        per_dimension = table.losses / table.dimensions[:, None]
        losses, loss_slopes = fitted(hats(logs, knots), logs, per_dimension)
        log_parts = _logarithmic(table)
        y = _parts(table, table.part_names, log_parts)
        # a part that is not a number of all samples is left as it is
        known = np.where(np.isfinite(y).all(0), y, 0.0)
        parts = table.part_names, *fitted(hats(logs, knots), logs, known), log_parts
        reference = max(1, round(float(np.exp(logs.mean()))))
        made = (knots, norms, norm_slopes, losses, loss_slopes, *parts, floor, noise)
        return cls(table.names, reference, *made)

    def residuals(self, table: Features) -> Features:
        """Return the rows as they would be at the reference length.

        Rounding noise becomes an exact zero, -inf, so that it is told without bounds; what is not
        finite stays so. Beyond the fitted lengths the means go on as lines, the deviations are
        those of the nearest.

        Raises:
            ValueError: where a fitted column is missing.
        """
        table = table.columns(self.names)
        logs = np.log(table.dimensions)
        each, x = _of_rows(logs, table)
        values = np.maximum(table.values, self.floor)
        values = self._moved(values, _design(each, self.knots), x, self.norms, self.norm_slopes)
        values[self.noise & ~strange_values(table)] = -np.inf
        losses = table.losses / table.dimensions[:, None]
        design = hats(logs, self.knots)
        losses = self._moved(losses, design, logs, self.losses, self.loss_slopes)
        chosen = [j for j, name in enumerate(self.part_names) if name in table.part_names]
        names = tuple(self.part_names[j] for j in chosen)
        parts = _parts(table, names, self.log_parts)
        parts = self._moved(parts, design, logs, self.parts[:, chosen], self.part_slopes[chosen])
        for j in _places(names, self.log_parts):
            parts[:, j] = np.exp(parts[:, j])
        return replace(
            table,
            values=values,
            losses=losses * self.reference,
            parts=parts,
            part_names=names,
            bounds=np.zeros(len(self.names)),
            dimensions=np.full(len(logs), self.reference),
        )

    def _moved(self, y: Array, design: Array, x: Array, heights: Array, slopes: Array) -> Array:
        target = np.log(float(self.reference))
        ratio = np.exp(np.outer(target - np.clip(x, self.knots[0], self.knots[-1]), slopes))
        return np.asarray(
            hats(np.array(target), self.knots) @ heights + (y - design @ heights) * ratio
        )

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return all that ``from_state`` needs: named arrays, and values for JSON."""
        arrays = {key: value for key, value in vars(self).items() if isinstance(value, np.ndarray)}
        names = {key: list(getattr(self, key)) for key in NAMES}
        return arrays, {**names, "reference": self.reference}

    @classmethod
    def from_state(cls, arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> Self:
        """Return the trend whose ``state`` this is.

        Raises:
            KeyError, TypeError: where something is missing or too much.
        """
        none = {"parts": np.zeros((len(arrays["knots"]), 0)), "part_slopes": np.zeros(0)}
        fields: dict[str, Any] = {**none, **arrays, "reference": int(description["reference"])}
        for key in NAMES:  # there are states of before parts were kept, or their logarithms
            fields[key] = tuple(description.get(key, ()))
        return cls(**fields)


def _logarithmic(table: Features) -> tuple[str, ...]:
    """Return the names of code lengths that are a number above zero of all samples."""
    fine = np.isfinite(table.parts) & (table.parts > 0)
    named = zip(table.part_names, fine.T, strict=True)
    return tuple(name for name, each in named if each.all() and name.startswith(CODE))


def _parts(table: Features, names: Sequence[str], log_parts: Sequence[str]) -> Array:
    """Return parts (samples, P) of these names, some as logarithms."""
    found = table.parts[:, [table.part_names.index(name) for name in names]]
    for j in _places(names, log_parts):
        with np.errstate(divide="ignore", invalid="ignore"):
            found[:, j] = np.log(found[:, j])
    return found


def _places(names: Sequence[str], among: Sequence[str]) -> list[int]:
    return [j for j, name in enumerate(names) if name in among]


def _of_rows(logs: Array, table: Features) -> tuple[Array, Array]:
    """Return logarithms of lengths by row (N, group_size), and their means (N,)."""
    each = logs.reshape(len(table), table.group_size)
    return each, each.mean(1)


def _design(each: Array, knots: Array) -> Array:
    """Return the mean hat functions (N, K) of the samples (N, group_size) in a row."""
    return np.asarray(hats(each, knots).mean(1))
