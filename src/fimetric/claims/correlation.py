"""Are layer-wise log norms only weakly correlated?

Criterion, on own data: the claim HOLDS where the mean absolute correlation of different layers is
at most .2; IN PART where that is so of layers more than ten apart; else it does not. The effective
number of independent layers is given beside it: many weak correlations can add up.
"""

from pathlib import Path

import numpy as np

from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.correlation import draw_by_distance, draw_matrix
from fimetric.claims.rows import informative_part
from fimetric.claims.study import Study
from fimetric.fisher.correlation import Correlation, correlate

WEAK, APART = 0.2, 10


def correlation(study: Study, folder: Path) -> Finding | None:
    """Correlate the layers of own data on every set; None for a model with one informative layer.

    Raises:
        ValueError: where no layer is informative on own data.
    """
    name = study.own.name
    layers = informative_part(study.features(name))[0].names
    if len(layers) < 2:
        return None
    sets = {name: correlate(study.features(name), layers)}
    left_out = []
    for other in study.foreign:
        try:
            sets[other] = correlate(study.features(other), layers)
        except ValueError as error:  # a layer without gradient on all of a set leaves no row
            left_out.append(f"{other} is left out: {error}.")
    draw_by_distance(folder / "by-distance.png", sets)
    draw_matrix(folder / "matrix.png", sets[name], name)
    return Finding(
        claim="correlation",
        title="Layer-wise log norms are only weakly correlated",
        verdict=judge(sets[name]),
        because=_because(sets[name], name),
        numbers={
            f"{name}: {key}": value
            for name, found in sets.items()
            for key, value in _summary(found).items()
        },
        tables=[_table(sets)],
        pictures=[
            Picture("by-distance.png", "Mean correlation of layers against their distance."),
            Picture("matrix.png", f"Correlation of all pairs of layers on {name}."),
        ],
        notes=[
            "Of independent layers on n samples the mean absolute correlation would be about "
            "sqrt(2 / (pi n)); the mean square is freed of it. Effective number: K^2 over the sum "
            "of squared correlations of all K x K pairs, likewise freed.",
            *left_out,
        ],
    )


def judge(found: Correlation) -> Verdict:
    """Return the verdict of the criterion above."""
    if found.mean_absolute <= WEAK:
        return "holds"
    return "holds in part" if found.mean_absolute_beyond(APART) <= WEAK else "does not hold"


def _because(found: Correlation, name: str) -> str:
    far = found.mean_absolute_beyond(APART)
    apart = f"of {far:.3f} where" if np.isfinite(far) else "there are none"
    return (
        f"On {name}, {len(found.names)} layers have a mean absolute correlation of "
        f"{found.mean_absolute:.3f} (holds up to {WEAK}), and {apart} more than {APART} apart (in "
        f"part up to {WEAK}). All together they are worth {found.effective_number:.1f} independent "
        "layers."
    )


def _summary(found: Correlation) -> dict[str, float]:
    return {
        "layers": float(len(found.names)),
        "rows": float(found.rows),
        "rows left out": float(found.dropped),
        "mean absolute": found.mean_absolute,
        f"mean absolute beyond {APART}": found.mean_absolute_beyond(APART),
        "mean of neighbours": float(found.by_distance[0]),
        "mean square": found.mean_square,
        "effective number": found.effective_number,
    }


def _table(sets: dict[str, Correlation]) -> Table:
    rows = []
    for name, found in sets.items():
        counts, shares = np.split(np.array(list(_summary(found).values())), [3])
        rows.append([name, *(f"{v:.0f}" for v in counts), *(f"{v:.3f}" for v in shares)])
    heads = ["layers", "samples", "left out", "mean absolute", f"more than {APART} apart"]
    return Table(
        "Correlation of log squared norms between different layers",
        ["data", *heads, "mean of neighbours", "mean square", "effective number"],
        rows,
    )
