"""Which rows and columns of a table of features carry information.

A layer whose gradient is structurally zero (a convolution's bias before a normalisation) yields the
logarithm of rounding noise: it has spread, so the rounding bound has to find it. A row with nan or
+inf comes from a sample on which the model itself broke down.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from fimetric.features.table import Features
from fimetric.typing import Array

logger = logging.getLogger(__name__)

# float32 arithmetic moves the logarithm of a constant norm by about this much of its size.
SHARED = 0.9  # of the calibration samples
NO_SPREAD = 1e-6


class UninformativeError(ValueError):
    """What is raised where no column of a table carries information."""


def strange(features: Features) -> NDArray[np.bool_]:
    """Mark the rows (N,) with a nan or +inf value, or a loss that is not finite.

    A value of -inf is an exact zero and not strange.
    """
    samples = np.isfinite(features.losses).all(1).reshape(len(features), features.group_size)
    return np.asarray(strange_values(features).any(1) | ~samples.all(1))


def strange_values(features: Features) -> NDArray[np.bool_]:
    """Mark the values (N, J) that are nan or +inf."""
    return np.isnan(features.values) | np.isposinf(features.values)


def describe_strange(features: Features) -> str:
    """Name the sample and the layer or view of the first strange row; empty where there is none."""
    rows = np.flatnonzero(strange(features))
    if not len(rows):
        return ""
    row = int(rows[0])
    samples = ", ".join(map(repr, features.group_ids(row)))
    more = f" ({len(rows) - 1} more rows are not finite)" if len(rows) > 1 else ""
    columns = np.flatnonzero(strange_values(features)[row])
    if len(columns):
        value = features.values[row, columns[0]]
        return f"sample {samples}, layer {features.names[columns[0]]!r}: log norm {value}{more}"
    g = features.group_size
    sample, view = np.argwhere(~np.isfinite(features.losses[row * g : (row + 1) * g]))[0]
    name, loss = features.ids[row * g + sample], features.losses[row * g + sample, view]
    return f"sample {name!r}, view {features.views[view]!r}: loss {loss}{more}"


def refuse_strange(features: Features) -> None:
    """Raise where a row to be fitted is not finite.

    Raises:
        ValueError: naming the sample and the layer or view.
    """
    found = describe_strange(features)
    if found and strange(features).all():
        raise ValueError(f"cannot fit: {_nowhere_finite(features)}")
    if found:
        raise ValueError(f"cannot fit on {found}; leave it out of the fitting data or mend it")


def refuse_shared(fitted: Features, held_out: Features) -> None:
    """Raise where held-out samples are the fitted ones: their scores are no others' scores.

    Few may coincide, where there are few kinds of samples.

    Raises:
        ValueError: where nine of ten have the id and the losses of a fitted sample, most of them
            losses of their own.
    """
    places = {name: row for row, name in enumerate(fitted.ids)}
    pairs = [(places[name], row) for row, name in enumerate(held_out.ids) if name in places]
    if len(pairs) < SHARED * len(held_out.ids):
        return
    own, other = np.array(pairs).T
    near = 1e-5 * fitted.losses.std(0)
    same = (np.abs(fitted.losses[own] - held_out.losses[other]) <= near).all(1)
    kinds = len(np.unique(fitted.losses[own[same]], axis=0))  # many samples may be of one
    if same.sum() >= SHARED * len(held_out.ids) and 2 * kinds > same.sum():
        raise ValueError(
            f"{same.sum()} of {len(held_out.ids)} calibration samples are samples of the density "
            f"too (the first is {held_out.ids[int(other[same.argmax()])]!r}), so that false alarms "
            "would be more than asked for; calibrate on others, or pass all as data alone"
        )


def _nowhere_finite(features: Features) -> str:
    """Say what the model gives on samples of which none has finite numbers."""
    lost = ~np.isfinite(features.losses)
    more = f" and the {len(features.ids) - 1} others" if len(features.ids) > 1 else ""
    found = describe_strange(features)
    if lost.any(1).all():
        view = int(np.flatnonzero(lost[0])[0])
        found = f"sample {features.ids[0]!r}, view {features.views[view]!r}: loss "
        found += f"{features.losses[0, view]}{more}"
    return (
        f"the model gives finite numbers on no sample ({found}); check that its weights are "
        "finite, and that the data are scaled as they were in its training"
    )


def informative(features: Features) -> NDArray[np.bool_]:
    """Mark the columns (J,) to fit on: above the rounding bound in every row, and with spread.

    The names of the others are logged.

    Arguments:
        features: the fitting data, N >= 2.

    Raises:
        ValueError: where a row is not finite, or there are fewer than two rows.
        UninformativeError: where no column is left, a ValueError too.
    """
    if len(features) < 2:
        raise ValueError(f"cannot fit a density to {len(features)} rows; pass at least two")
    refuse_strange(features)
    noise = (features.values <= log_bounds(features)).any(0)
    values = np.where(noise, 0.0, features.values)
    constant = np.ptp(values, axis=0) <= NO_SPREAD * np.abs(values).max(0)
    dropped = [name for name, drop in zip(features.names, noise | constant, strict=True) if drop]
    total = len(features.names)
    if not total:
        raise UninformativeError(
            "this table has no norms, only losses; extract with gradient=True, or take a density "
            "that reads none, such as 'cheap'"
        )
    if len(dropped) == total:
        raise UninformativeError(
            f"none of the {total} layers is informative: {noise.sum()} have a gradient within "
            f"rounding noise, the others the same norm in all {len(features)} rows; check that "
            "the loss depends on the parameters and that the fitting samples differ"
        )
    if dropped:
        logger.info(
            "left out %d of %d layers whose gradient is rounding noise or constant: %s",
            len(dropped),
            total,
            ", ".join(dropped),
        )
    return ~(noise | constant)


def log_bounds(features: Features) -> Array:
    """Return the logarithms (J,) of the rounding bounds, -inf for a bound of zero."""
    with np.errstate(divide="ignore"):
        return np.log(features.bounds)
