"""Fit a density on own rows, score own and foreign ones, and say how well it tells them apart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fimetric.detection.judge import Judge
from fimetric.detectors import Density
from fimetric.features.table import Features
from fimetric.metrics import Estimate, Metric, auroc, estimate
from fimetric.typing import Array

ALPHA = 0.05  # of the false alarms that are counted
REPEATS = 1000  # of the bootstrap
Scores = dict[str, Array]  # set -> scores, higher = more anomalous


@dataclass(frozen=True)
class Judged:
    """What one density made of all sets.

    Arguments:
        fitted: what was learned of the fitted rows.
        scores: set -> scores (groups,), higher = more anomalous.
        alarms: false alarms among the groups of the own test part at level ``ALPHA``; None where
            nothing was set aside for calibration, or too few groups for that level.
    """

    fitted: Judge
    scores: Scores
    alarms: int | None


def judge(
    density: Density,
    fit: Features,
    sets: Mapping[str, Features],
    own: str = "test",
    calibration: Features | None = None,
) -> Judged:
    """Return the scores of all sets under a density fitted on own rows.

    Arguments:
        density: that is fitted here.
        fit: own rows, which are in no set.
        sets: name -> rows.
        own: name of the own test part among them.
        calibration: own rows set aside to count false alarms, in no set either.

    Raises:
        ValueError: where a row to be fitted is not finite, or there are too few.
    """
    fitted = Judge.fit(density, fit)
    scores = {name: fitted.scores(table) for name, table in sets.items()}
    alarms = None
    if calibration is not None:
        alarms = _alarms(replace(fitted, calibration=fitted.calibrated(calibration)), sets[own])
    return Judged(fitted, scores, alarms)


def _alarms(fitted: Judge, own: Features) -> int | None:
    if fitted.calibration is None or fitted.calibration.smallest_p > ALPHA:
        return None
    return int(fitted.reject(own, ALPHA, None).sum())


def estimates(
    scores: Mapping[str, Array],
    own: str,
    seed: int,
    metric: Metric = auroc,
    repeats: int | None = None,
) -> dict[str, Estimate]:
    """Return foreign set -> a metric of its scores against the own ones, with its interval."""
    return {
        name: estimate(metric, scores[own], theirs, seed=seed, repeats=repeats or REPEATS)
        for name, theirs in scores.items()
        if name != own
    }
