"""False alarms at each length: windows of one length judged apart, by four ways to treat length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from stretches import LENGTH, Tokens
from transformers import GPT2LMHeadModel

import fimetric as fm
from fimetric.calibration import Calibration
from fimetric.detection.judge import Judge
from fimetric.detection.prefixes import Cut, edges_of, with_prefixes
from fimetric.detectors import create
from fimetric.features.length import lengths
from fimetric.features.table import Features

WINDOWS = (16, 32, 64, 128, 256)
ALPHA, BAND = 0.05, 0.99
DENSITIES = ("nearest-neighbours", "layerwise-gaussian", "likelihood")
WAYS = ("as it was", "bins alone", "trend alone", "trend and bins")
FOREIGN = 200  # windows of another data set


@dataclass(frozen=True)
class Tables:
    """Features of one model: of fit and calibration with prefixes, and of windows by length."""

    fit: Features
    calibration: Features
    edges: list[float]
    windows: dict[str, dict[int, Features]]  # data -> length -> rows


def extracted(
    model: GPT2LMHeadModel,
    own: dict[str, list[Tokens]],
    foreign: dict[str, list[Tokens]],
    folder: Path,
) -> Tables:
    """Return the features of all windows, kept in a folder."""
    objective = fm.objectives.CausalLM(model)
    fit, calibration = with_prefixes(
        objective, _batch(own["fit"]), _batch(own["calibration"]), 0, 1
    )

    def table(name: str, data: Cut | torch.Tensor) -> Features:
        return fm.extract(objective, data, 16, folder=folder / name)

    sets = {"own": own["test"], **{name: each[:FOREIGN] for name, each in foreign.items()}}
    held_out = table("calibration", calibration)
    edges = edges_of(calibration, held_out)
    assert edges is not None
    windows = {
        name: {T: table(f"{name}-{T}", _batch(each, T)["input_ids"]) for T in WINDOWS}
        for name, each in sets.items()
    }
    return Tables(table("fit", fit), held_out, edges.tolist(), windows)


def _batch(stretches: Sequence[Tokens], length: int = LENGTH) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.from_numpy(np.stack(stretches)[:, :length].copy())}


@dataclass(frozen=True)
class Alarms:
    """False alarms of one density and way at one length, and the band of their share."""

    data: str
    density: str
    way: str
    length: int
    share: float
    low: float
    high: float
    foreign: dict[str, float]

    @property
    def inside(self) -> bool:
        return self.low <= self.share <= self.high


def judged(data: str, tables: Tables) -> list[Alarms]:
    """Return the false alarms of all densities and ways at all lengths."""
    found = []
    for name in DENSITIES:
        plain = Judge(create(name).fit(tables.fit), None)
        levelled = Judge.fit(create(name), tables.fit)
        for way, judge, binned in zip(
            WAYS, (plain, plain, levelled, levelled), (False, True) * 2, strict=True
        ):
            held_out = judge.scores(tables.calibration)
            calibration = Calibration(held_out)
            if binned:
                known = lengths(tables.calibration)
                calibration = Calibration.in_bins(held_out, known, tables.edges)
            found += [_alarms(data, way, judge, calibration, tables, T) for T in WINDOWS]
    return found


def _alarms(
    data: str, way: str, judge: Judge, calibration: Calibration, tables: Tables, length: int
) -> Alarms:
    shares = {}
    for name, windows in tables.windows.items():
        table = windows[length]
        known = None if calibration.covariate is None else lengths(table)
        out = calibration.reject(judge.scores(table), ALPHA, covariate=known)
        shares[name] = float(out.mean())
    n = min(map(len, calibration.bins()))  # the bins are of one size
    low, high = band(n, len(tables.windows["own"][length]))
    share = shares.pop("own")
    return Alarms(data, judge.density.name, way, length, share, low, high, shares)


def band(calibrated: int, tested: int) -> tuple[float, float]:
    """Return between which shares of false alarms all lengths lie together, in 99 of 100 sets.

    Of exchangeable windows the number is beta-binomial; the five lengths share the error evenly.
    """
    k = int(ALPHA * (calibrated + 1))
    law = stats.betabinom(tested, k, calibrated + 1 - k)
    error = (1 - BAND) / len(WINDOWS)
    low, high = law.ppf(error / 2), law.ppf(1 - error / 2)
    return float(low) / tested, float(high) / tested
