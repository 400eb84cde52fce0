"""Are the gradients of foreign data larger and differently distributed, and does a density see it?

The density, independent Gaussians on the layers' log norms, is fitted on half of own data; the
other half and all foreign data are scored, by single samples and by groups of five (the mean of
their log norms). Typicality and likelihood are fitted and scored on the same samples.

Criterion, on single samples: the claim HOLDS where, on every foreign set, most informative layers
have a larger median norm than on own data and the density has an AUROC of at least .9 and not
below that of typicality; IN PART where on at least one set the AUROC is at least .8, or above 1/2
and above that of typicality; else it does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fimetric.claims.aurocs import DENSITY, DETECTORS, RIVAL, aurocs
from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.norms import draw_medians, draw_two_layers
from fimetric.claims.rows import informative_part
from fimetric.claims.study import Study
from fimetric.features.screening import strange
from fimetric.features.table import Features
from fimetric.judging.splits import halves
from fimetric.metrics import Estimate, auroc

GOOD, FAIR = 0.9, 0.8
GROUPS = (1, 5)
FEWEST = 2  # groups to fit on


@dataclass(frozen=True)
class Shift:
    """How far the log norms of a foreign set are from own ones, layer by layer.

    Arguments:
        larger: share of layers with a larger median.
        deviations: median over layers of the shift of the median, in own standard deviations.
        separation: median over layers of abs(AUROC - 1/2) of the log norm alone.
        dropped: samples that were left out, since something of theirs was not finite.
    """

    larger: float
    deviations: float
    separation: float
    dropped: int


def norms(study: Study, folder: Path) -> Finding | None:
    """Compare the norms of own and foreign data; None where there is no foreign set.

    Raises:
        ValueError: where no layer is informative on own data.
    """
    if not study.foreign:
        return None
    name = study.own.name
    features = {each: study.features(each) for each in study.sets}
    own, _ = informative_part(features[name])
    tables = {each: table.columns(own.names) for each, table in features.items()}
    shifts = {other: _shift(own, tables[other]) for other in study.foreign}
    fit, test = halves(features[name])
    fit, others = fit.select(~strange(fit)), {n: features[n] for n in study.foreign}
    sizes = [size for size in GROUPS if len(fit) // size >= FEWEST and len(test) // size >= 1]
    scores = {size: aurocs(fit, test, others, study.seed, size) for size in sizes}
    scores = {size: found for size, found in scores.items() if found}
    fine = {each: table.select(~strange(table)) for each, table in tables.items()}
    return Finding(
        claim="norms",
        title="Out-of-distribution data have larger, differently distributed gradients, which a "
        "simple density of them detects",
        verdict=judge(shifts, scores.get(1, {})),
        because=_because(shifts, scores.get(1, {})),
        numbers=_numbers(shifts, scores),
        tables=[_shift_table(shifts), _score_table(scores)],
        pictures=_pictures(folder, fine, name),
        notes=[
            "Groups of 5 are described by the mean of their samples' log norms. Intervals are 95% "
            "bootstrap intervals over test samples.",
            *(f"{n}: {s.dropped} samples are not finite." for n, s in shifts.items() if s.dropped),
        ],
    )


def judge(shifts: Mapping[str, Shift], scores: Mapping[str, Mapping[str, Estimate]]) -> Verdict:
    """Return the verdict of the criterion above; scores are those of single samples."""
    values = [(found[DENSITY].value, found[RIVAL].value) for found in scores.values()]
    larger = all(shift.larger > 0.5 for shift in shifts.values())
    if values and larger and all(ours >= max(GOOD, theirs) for ours, theirs in values):
        return "holds"
    some = any(ours >= FAIR or ours > max(theirs, 0.5) for ours, theirs in values)
    return "holds in part" if some else "does not hold"


def _shift(own: Features, foreign: Features) -> Shift:
    fine = ~strange(foreign)
    mine, theirs = own.values, foreign.values[fine]
    if not len(theirs):
        return Shift(np.nan, np.nan, np.nan, len(fine))
    shift = np.median(theirs, axis=0) - np.median(mine, axis=0)
    single = [auroc(a, b) for a, b in zip(mine.T, theirs.T, strict=True)]
    return Shift(
        larger=float((shift > 0).mean()),
        deviations=float(np.median(shift / mine.std(0))),
        separation=float(np.median(np.abs(np.array(single) - 0.5))),
        dropped=int((~fine).sum()),
    )


def _pictures(folder: Path, tables: Mapping[str, Features], name: str) -> list[Picture]:
    sets = {each: table.values for each, table in tables.items() if len(table)}
    names = tables[name].names
    draw_medians(folder / "medians.png", sets)
    pictures = [
        Picture(
            "medians.png",
            "Medians and interquartile ranges of the log squared norms of each informative layer, "
            f"as they are and in standard deviations on {name}.",
        )
    ]
    pair = choose_two(tables[name])
    if pair is not None:
        draw_two_layers(folder / "two-layers.png", sets, names, pair)
        rule = (
            f"Log squared norms of two layers, chosen on {name} alone: of the tensors with at "
            "least the median number of elements, those of the largest spread in the first and "
            "second half of the model. Points far out lie on the border."
        )
        pictures.insert(0, Picture("two-layers.png", rule))
    return pictures


def choose_two(own: Features) -> tuple[int, int] | None:
    """Return two large layers of much spread, one in either half; None for less than two layers."""
    K = len(own.names)
    if K < 2:
        return None
    spread = own.values.std(0)
    halves = np.arange(K) < K // 2
    large = own.numels >= np.median(own.numels)
    chosen = []
    for half in (halves, ~halves):
        candidates = half & large if (half & large).any() else half
        chosen.append(int(np.argmax(np.where(candidates, spread, -1))))
    return chosen[0], chosen[1]


def _because(shifts: Mapping[str, Shift], scores: Mapping[str, Mapping[str, Estimate]]) -> str:
    sets = [
        f"{other}: norms are larger in {shifts[other].larger:.0%} of layers, AUROC "
        f"{found[DENSITY].value:.3f} against {found[RIVAL].value:.3f} of typicality"
        for other, found in scores.items()
    ]
    return (
        "; ".join(sets) + f" (holds for most layers and from {GOOD} on, not below typicality, on "
        f"every set; in part from {FAIR} on or above typicality on one)."
    )


def _numbers(
    shifts: Mapping[str, Shift], scores: Mapping[int, Mapping[str, Mapping[str, Estimate]]]
) -> dict[str, float]:
    numbers = {}
    for other, shift in shifts.items():
        numbers[f"{other}: share of layers with larger norms"] = shift.larger
        numbers[f"{other}: median shift in deviations"] = shift.deviations
        numbers[f"{other}: median separation of a layer"] = shift.separation
    for size, found in scores.items():
        for other, detectors in found.items():
            for detector, value in detectors.items():
                numbers[f"{other}: AUROC of {detector}, groups of {size}"] = value.value
    return numbers


def _shift_table(shifts: Mapping[str, Shift]) -> Table:
    rows = [
        [other, f"{s.larger:.0%}", f"{s.deviations:+.2f}", f"{s.separation:.3f}"]
        for other, s in shifts.items()
    ]
    heads = ["median shift in own deviations", "median abs(AUROC - 1/2) of one layer"]
    return Table("Norms layer by layer", ["data", "layers with larger median", *heads], rows)


def _score_table(scores: Mapping[int, Mapping[str, Mapping[str, Estimate]]]) -> Table:
    rows = [
        [other, str(size), *(str(found[detector]) for detector in DETECTORS)]
        for size, sets in scores.items()
        for other, found in sets.items()
    ]
    return Table("AUROC with 95% intervals", ["data", "group", *DETECTORS], rows)
