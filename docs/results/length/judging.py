"""False alarms at each length: windows of one length judged apart, by four ways to treat length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from stretches import LENGTH, SEED, Tokens, parts
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

import fimetric as fm
from fimetric.calibration import Calibration, false_alarms
from fimetric.detection.judge import Judge
from fimetric.detection.prefixes import Cut, edges_of, with_prefixes
from fimetric.detectors import create
from fimetric.features.length import lengths
from fimetric.features.table import Features

WINDOWS = (16, 32, 64, 128, 256)
ALPHA, BAND = 0.05, 0.99
DENSITIES = ("balanced-neighbours", "nearest-neighbours", "layerwise-gaussian", "likelihood")
WAYS = ("as it was", "bins alone", "trend alone", "trend and bins")
FOREIGN = 200  # windows of another data set
DRAWS = 20  # of parts, besides the first


@dataclass(frozen=True)
class Tables:
    """Features of one model.

    Arguments:
        rows: all stretches of its own, and a prefix of each in each bin of lengths.
        stretch: (rows,) the number of the stretch that each is of.
        bins: (rows,) the number of its bin.
        windows: length -> the first tokens of each stretch, in their order.
        foreign: data -> length -> windows of other data.
    """

    rows: Features
    stretch: NDArray[np.int64]
    bins: NDArray[np.int64]
    windows: dict[int, Features]
    foreign: dict[str, dict[int, Features]]


def extracted(
    model: GPT2LMHeadModel,
    tokenizer: Tokenizer,
    own: list[Tokens],
    foreign: dict[str, list[Tokens]],
    folder: Path,
) -> Tables:
    """Return the features of all windows, kept in a folder."""
    spelling = PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # for the code of what they say
    objective = fm.objectives.CausalLM(model, spelling)
    _, cut = with_prefixes(objective, _batch(own), _batch(own), 0, 1)

    def table(name: str, data: Cut | torch.Tensor) -> Features:
        return fm.extract(objective, data, 16, folder=folder / name)

    def windows(name: str, each: list[Tokens]) -> dict[int, Features]:
        return {T: table(f"{name}-{T}", _batch(each, T)["input_ids"]) for T in WINDOWS}

    rows = table("prefixes", cut)
    stretch = np.array([int(name.split("[")[0]) for name in rows.ids])
    others = {name: windows(name, each[:FOREIGN]) for name, each in foreign.items()}
    return Tables(rows, stretch, cut.bins, windows("own", own), others)


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


def judged(data: str, tables: Tables, seed: int = SEED) -> list[Alarms]:
    """Return the false alarms of all densities and ways at all lengths, of one draw of parts."""
    places = parts(len(tables.windows[LENGTH]), seed)
    rows = {name: np.isin(tables.stretch, own) for name, own in places.items()}
    fit, calibration = tables.rows.select(rows["fit"]), tables.rows.select(rows["calibration"])
    edges = edges_of(Cut([], tables.bins[rows["calibration"]]), calibration)
    own = {T: table.select(places["test"]) for T, table in tables.windows.items()}
    sets = {"own": own, **tables.foreign}
    found = []
    for name in DENSITIES:
        plain = Judge(create(name).fit(fit), None)
        levelled = Judge.fit(create(name), fit)
        judges = (plain, plain, levelled, levelled)
        for way, judge in zip(WAYS, judges, strict=True):
            held_out, known = judge.scores(calibration), lengths(calibration)
            made = Calibration(held_out)
            if "bins" in way:
                made = Calibration.in_bins(held_out, known, edges)
            found += [_alarms(data, way, judge, made, sets, T) for T in WINDOWS]
    return found


def _alarms(
    data: str,
    way: str,
    judge: Judge,
    calibration: Calibration,
    sets: dict[str, dict[int, Features]],
    length: int,
) -> Alarms:
    shares = {}
    for name, windows in sets.items():
        table = windows[length]
        known = None if calibration.covariate is None else lengths(table)
        out = calibration.reject(judge.scores(table), ALPHA, covariate=known)
        shares[name] = float(out.mean())
    n = min(map(len, calibration.bins()))  # the bins are of one size
    low, high = band(n, len(sets["own"][length]))
    share = shares.pop("own")
    return Alarms(data, judge.density.name, way, length, share, low, high, shares)


def band(calibrated: int, tested: int) -> tuple[float, float]:
    """Return between which shares of false alarms all lengths lie together, in 99 of 100 sets.

    Of exchangeable windows the number is beta-binomial; the five lengths share the error evenly.
    """
    confidence = 1 - (1 - BAND) / len(WINDOWS)
    low, high = false_alarms(calibrated, tested, ALPHA, confidence)
    return low / tested, high / tested
