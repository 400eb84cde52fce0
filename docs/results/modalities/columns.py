"""Where the signal of a pair of sets lies: in the loss, in which norms, and what is lost.

All on rows brought to one length. Areas are of single samples; z is a column standardised on the
fitted own rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fimetric.benchmark.views import losses_alone
from fimetric.detection.judge import Judge
from fimetric.detectors import NearestNeighbours, Typicality, default
from fimetric.features.length import lengths
from fimetric.features.table import Features
from fimetric.metrics import auroc
from fimetric.typing import Array

LARGE = 3  # principal components that are called large
FEWEST = 20  # rows that an area is told of


@dataclass(frozen=True)
class Account:
    """What one pair of sets is told by.

    Arguments:
        ladder: step -> AUROC: the mean loss of the views one-sided, two-sided, the neighbours of
            the losses, the default without norms (losses, their parts and code lengths), the
            neighbours of the norms alone, and the default.
        raw: the default without bringing rows to one length; the same as ``default`` at one length.
        length: AUROC of the length alone, two-sided; .5 where all have one length.
        outside: share of foreign rows shorter or longer than all that were fitted or calibrated on.
        within: AUROC of the default on the others; nan where they are fewer than ``FEWEST``.
        loss_shift: mean z of the loss of foreign rows, mean over the views.
        norm_shift: median over the columns of the mean z of foreign rows.
        risen: share of columns that are higher in foreign rows on average.
        best: the column with the largest one-sided area or its mirror image.
        best_area: that area.
        median_area: the median of all columns' one-sided areas.
        large: share of the squared mean shift, of norms, in the first three principal components.
        own_large: share of the own variance there.
    """

    ladder: Mapping[str, float]
    raw: float
    length: float
    outside: float
    within: float
    loss_shift: float
    norm_shift: float
    risen: float
    best: str
    best_area: float
    median_area: float
    large: float
    own_large: float


def account(tables: Mapping[str, Features], other: str) -> Account:
    """Return what tells a foreign set from the own test part."""
    fit, test, foreign = raw = tables["fit"], tables["test"], tables[other]
    judge = Judge.fit(NearestNeighbours(), fit)
    outside = _outside(tables, foreign)
    fit, test, foreign = map(judge.levelled, (fit, test, foreign))
    norms = [_clean(table, judge.density) for table in (fit, test, foreign)]
    losses = [table.group_losses for table in (fit, test, foreign)]
    z_loss = _standardised(losses)
    z_norms = _standardised(norms)
    areas = np.array([auroc(a, b) for a, b in zip(z_norms[1].T, z_norms[2].T, strict=True)])
    best = int(np.abs(areas - 0.5).argmax())
    shift = z_norms[2].mean(0) - z_norms[1].mean(0)
    own_large, large = _in_large_components(z_norms[0], shift)
    names = np.array(judge.density.names_)[judge.density.kept_]
    return Account(
        ladder={
            "mean loss, one-sided": auroc(z_loss[1].mean(1), z_loss[2].mean(1)),
            "two-sided": _area(Typicality(), fit, test, foreign),
            "neighbours, losses": _judged(NearestNeighbours(), *map(losses_alone, raw)),
            "without norms": _judged(default(), *map(losses_alone, raw)),
            "neighbours, norms": _area(
                NearestNeighbours(), *map(_without_losses, (fit, test, foreign))
            ),
            "default": _area(default(), fit, test, foreign),
        },
        raw=_area(default(), *raw),
        length=_length_alone(tables, other),
        outside=float(outside.mean()),
        within=_within(fit, test, foreign, outside),
        loss_shift=float(z_loss[2].mean() - z_loss[1].mean()),
        norm_shift=float(np.median(shift)),
        risen=float((shift > 0).mean()),
        best=str(names[best]),
        best_area=float(max(areas[best], 1 - areas[best])),
        median_area=float(np.median(areas)),
        large=large,
        own_large=own_large,
    )


def _clean(table: Features, density: NearestNeighbours) -> Array:
    """Return the columns that the density keeps, without infinities."""
    values = table.columns(density.names_).values[:, density.kept_]
    return np.maximum(values, density.floor_).clip(-1e3, 1e3)


def _standardised(parts: list[Array]) -> list[Array]:
    mean, deviation = parts[0].mean(0), parts[0].std(0)
    deviation = np.where(deviation > 0, deviation, np.inf)
    return [(part - mean) / deviation for part in parts]


def _area(density, fit: Features, test: Features, foreign: Features) -> float:
    density.fit(fit)
    return auroc(density.score(test), density.score(foreign))


def _judged(density, fit: Features, test: Features, foreign: Features) -> float:
    """Return the area of a density on rows that are brought to one length by themselves."""
    judge = Judge.fit(density, fit)
    return auroc(judge.scores(test), judge.scores(foreign))


def _outside(tables: Mapping[str, Features], foreign: Features) -> NDArray[np.bool_]:
    """Mark the rows (N,) shorter or longer than all own ones for density and calibration."""
    known = np.concatenate([lengths(tables[name]) for name in ("fit", "calibration")])
    found = lengths(foreign)
    return (found < known.min()) | (found > known.max())


def _within(fit: Features, test: Features, foreign: Features, outside: NDArray[np.bool_]) -> float:
    """Return the area of the default on foreign rows of known lengths."""
    if (~outside).sum() < FEWEST:
        return math.nan
    return _area(default(), fit, test, foreign.select(~outside))


def _without_losses(table: Features) -> Features:
    return replace(table, losses=np.zeros_like(table.losses))


def _length_alone(tables: Mapping[str, Features], other: str) -> float:
    fit, test, foreign = (np.log(tables[name].dimensions) for name in ("fit", "test", other))
    away = [np.abs(x - fit.mean()) for x in (test, foreign)]
    return auroc(*away)


def _in_large_components(own: Array, shift: Array) -> tuple[float, float]:
    """Return the shares of own variance and of a squared shift in the largest components."""
    _, singular, directions = np.linalg.svd(own - own.mean(0), full_matrices=False)
    within = np.square(directions[:LARGE] @ shift).sum() / max(np.square(shift).sum(), 1e-300)
    return float(np.square(singular[:LARGE]).sum() / np.square(singular).sum()), float(within)
