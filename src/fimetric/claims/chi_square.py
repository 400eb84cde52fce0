"""Are layer-wise squared norms about scaled chi-square distributed?

Criterion, on own data: with "fits" for a bootstrap p-value above .05, the claim HOLDS where chi^2
with numel degrees of freedom or chi^2 with free degrees of freedom (the gamma) fits at least half
of the informative layers; IN PART where the gamma fits at least a tenth of them, or has a median
Kolmogorov-Smirnov distance of at most .05: then it is close, though samples are enough to tell it
from the truth. Else it does not. The gamma is fitted by moments, as 2 m^2 / v says, and by maximum
likelihood, which one outlier does not ruin; either counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.chi_square import draw_densities, draw_fits
from fimetric.claims.rows import informative_part
from fimetric.claims.study import Study
from fimetric.data import Samples
from fimetric.features.table import Features
from fimetric.fisher.families import FamilyFits, fit_families, null_distances
from fimetric.fisher.laws import FAMILIES
from fimetric.fisher.rank import effective_rank
from fimetric.objectives import Objective
from fimetric.typing import Array

MOST, SOME, CLOSE = 0.5, 0.1, 0.05
DRAWN = "model samples"
PANELS = 6
GAMMAS = ("gamma", "gamma-likelihood")


@dataclass(frozen=True)
class Measured:
    """One set: K informative layers, their fits and effective ranks (K,), and rows left out."""

    features: Features
    fits: FamilyFits
    rank: Array
    dropped: int


def chi_square(study: Study, folder: Path) -> Finding:
    """Fit families to the norms of own data and, where there are any, of the model's samples."""
    name = study.own.name
    sets = {name: _measure(study, study.features(name), study.objective, study.sets[name])}
    drawn = study.drawn_features()
    if study.drawn is not None and drawn is not None:
        sets[DRAWN] = _measure(study, drawn, study.drawn.objective, study.drawn.samples)
    own = sets[name]
    chosen = spread_out(own.fits.fits["gamma-likelihood"].distance, PANELS)
    draw_densities(folder / "densities.png", own.fits, own.features.values, chosen)
    draw_fits(folder / "fits.png", {name: found.fits for name, found in sets.items()})
    return Finding(
        claim="chi-square",
        title="Layer-wise squared norms are about scaled chi-square distributed",
        verdict=judge(own.fits),
        because=_because(own.fits, name),
        numbers=_numbers(sets),
        tables=[_fits_table(sets), _freedom_table(sets)],
        pictures=[
            Picture(
                "densities.png",
                f"{name}: log squared norms of {len(chosen)} layers, from where the gamma by "
                "likelihood is closest to where it is farthest, with the fitted densities (those "
                "that are very narrow are cut at the top).",
            ),
            Picture("fits.png", "Distances and p-values over all informative layers."),
        ],
        notes=_notes(study, sets),
    )


def judge(fits: FamilyFits) -> Verdict:
    """Return the verdict of the criterion above."""
    gamma = _fitting(fits, GAMMAS)
    if (gamma | fits.fitting("chi-square")).mean() >= MOST:
        return "holds"
    close = min(np.median(fits.fits[family].distance) for family in GAMMAS) <= CLOSE
    return "holds in part" if gamma.mean() >= SOME or close else "does not hold"


def spread_out(distance: Array, number: int) -> list[int]:
    """Return at most so many layers, from the smallest distance to the largest in equal steps."""
    order = np.argsort(distance, kind="stable")
    steps = np.linspace(0, len(order) - 1, min(number, len(order)))
    return order[steps.round().astype(int)].tolist()


def _fitting(fits: FamilyFits, families: Sequence[str]) -> NDArray[np.bool_]:
    """Mark the layers (K,) that at least one of the families fits."""
    return np.any([fits.fitting(family) for family in families], axis=0)


def _measure(study: Study, features: Features, objective: Objective, samples: Samples) -> Measured:
    part, fine = informative_part(features)
    rank = effective_rank(
        objective, samples.select(np.flatnonzero(fine).tolist()), study.batch_size, study.progress
    )
    ranks = dict(zip(features.names, rank, strict=True))
    kept = np.array([ranks[name] for name in part.names])
    return Measured(part, fit_families(part, seed=study.seed), kept, int((~fine).sum()))


def _because(fits: FamilyFits, name: str) -> str:
    K = len(fits.names)
    chi_square, log_normal = fits.fitting("chi-square").sum(), fits.fitting("log-normal").sum()
    return (
        f"On {name}, {_fitting(fits, ('chi-square', *GAMMAS)).sum()} of {K} layers are fitted "
        f"(p > .05) by chi-square with as many degrees of freedom as elements ({chi_square}) or "
        f"with free ones ({_fitting(fits, GAMMAS).sum()}; {log_normal} by the log-normal; holds "
        f"from {MOST:.0%} on). Median distances are "
        + ", ".join(f"{np.median(f.distance):.3f} ({n})" for n, f in fits.fits.items())
        + f" (in part from {SOME:.0%} of layers or up to {CLOSE} for the gamma)."
    )


def _numbers(sets: dict[str, Measured]) -> dict[str, float]:
    numbers = {}
    for name, found in sets.items():
        closest = found.fits.closest()
        numbers[f"{name}: layers"] = float(len(found.fits.names))
        for family, fit in found.fits.fits.items():
            numbers[f"{name}: {family} fits"] = float(found.fits.fitting(family).sum())
            numbers[f"{name}: {family} closest"] = float(closest[family])
            numbers[f"{name}: {family} median distance"] = float(np.median(fit.distance))
        numbers |= {f"{name}: {key}": value for key, value in _freedom(found).items()}
    return numbers


def _freedom(found: Measured) -> dict[str, float]:
    """Return what there is to say on degrees of freedom."""
    moments = found.fits.fits["gamma"].shape
    there = np.isfinite(found.rank)
    ratio = moments[there] / found.rank[there]
    moves = there.sum() > 2 and min(np.ptp(moments[there]), np.ptp(found.rank[there])) > 0
    order = spearmanr(moments[there], found.rank[there]).statistic if moves else np.nan
    return {
        "freedom by moments": float(np.median(moments)),
        "freedom by likelihood": float(np.median(found.fits.fits["gamma-likelihood"].shape)),
        "effective rank": float(np.median(found.rank[there])) if there.any() else np.nan,
        "elements": float(np.median(found.fits.numels)),
        "ratio of freedom to rank": float(np.median(ratio)) if there.any() else np.nan,
        "rank correlation of freedom and rank": float(order),
    }


def _fits_table(sets: dict[str, Measured]) -> Table:
    rows = []
    for name, found in sets.items():
        K, closest = len(found.fits.names), found.fits.closest()
        for family, fit in found.fits.fits.items():
            fitted = int(found.fits.fitting(family).sum())
            share = f"{fitted} ({fitted / K:.0%})"
            median = f"{np.median(fit.distance):.3f}"
            rows.append([name, str(K), family, share, str(closest[family]), median])
    heads = ["data", "informative layers", "family", "fits (p > .05)", "closest", "median distance"]
    return Table("Which family fits how many layers", heads, rows)


def _freedom_table(sets: dict[str, Measured]) -> Table:
    rows = [[name, *(f"{v:.3g}" for v in _freedom(found).values())] for name, found in sets.items()]
    heads = ["2 m^2 / v of the norms", "by likelihood", "(tr F)^2 / tr F^2", "elements"]
    return Table(
        "Degrees of freedom, medians over informative layers",
        ["data", *heads, "2 m^2 / v over (tr F)^2 / tr F^2", "their rank correlation"],
        rows,
    )


def _notes(study: Study, sets: dict[str, Measured]) -> list[str]:
    n = sets[study.own.name].fits.samples
    null = null_distances(FAMILIES["log-normal"], 1.0, n, 200, study.seed)
    notes = [
        f"{n} samples; a log-normal that is true would have distances of about "
        f"{np.median(null):.3f}, below {np.quantile(null, 0.95):.3f} in 95% of layers.",
        "(tr F)^2 / tr F^2 is taken over pairs of gradients. It equals 2 m^2 / v where gradients "
        "are Gaussian with mean zero; where it is larger, norms vary more than such gradients' do.",
    ]
    if study.drawn is not None:
        notes.append(f"Samples of the model: {study.drawn.how}.")
    notes += [
        f"{name}: {found.dropped} samples whose loss or gradient is not finite are left out."
        for name, found in sets.items()
        if found.dropped
    ]
    return notes
