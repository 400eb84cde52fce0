"""Whether the size of the gradient stands for the Fisher information metric.

The layer-wise norms are that metric with F_j = c_j I per tensor. Finer levels of F are fitted on
the same reference samples, and the metrics of the same test samples are compared by their ranks.

Criterion: the claim holds where, over in-distribution samples, the rank correlation of the scaled
identity with the diagonal, the Kronecker (EKFAC) and the low-rank level is at least 0.7 each. It
holds in part where all three are positive and the diagonal or the Kronecker level is at least 0.7
(low rank agrees nearly by construction). Else it does not hold.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm, spearmanr

from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.metric_parts import SCORED, Parts, choose_parts
from fimetric.claims.pictures.metric import metric_scatter
from fimetric.claims.study import Study
from fimetric.detectors import LayerwiseGaussian
from fimetric.features.table import Features
from fimetric.fisher.metrics import Diagonal, FisherMetric, Kronecker, LowRank, ScaledIdentity
from fimetric.judging.judge import estimates
from fimetric.judging.judge import judge as judge_sets
from fimetric.metrics import Estimate
from fimetric.store.files import safe_name
from fimetric.typing import Array

Numbers = dict[str, float]
FIRST = "scaled identity"
LEVELS: dict[str, Callable[[int], FisherMetric]] = {
    FIRST: lambda seed: ScaledIdentity(seed=seed),
    "diagonal": lambda seed: Diagonal(seed=seed),
    "Kronecker": lambda seed: Kronecker("ekfac", seed=seed),
    "low rank": lambda seed: LowRank(seed=seed),
}
OTHERS = tuple(level for level in LEVELS if level != FIRST)
ENOUGH = 0.7
TITLE = "The size of the gradient approximates the Fisher information metric s^T F^-1 s"


def metric(study: Study, folder: Path) -> Finding:
    """Compare the metric of samples at four levels of F.

    Raises:
        ValueError: where there are too few in-distribution samples to set some apart.
    """
    parts = choose_parts(study)
    fit, scored = _measure(study, parts)
    logs = {level: {n: log_metric(f) for n, f in sets.items()} for level, sets in scored.items()}
    own = study.own.name
    ranks = {
        own: {level: spearman(logs[FIRST][own], logs[level][own]) for level in OTHERS},
        "all sets": {
            level: spearman(_joined(logs[FIRST]), _joined(logs[level])) for level in OTHERS
        },
    }
    aurocs = {
        "metric": _aurocs(study, logs),
        "layer-wise Gaussian": _aurocs(study, _density_scores(fit, scored)),
    }
    verdict, because = judge({level: rank.value for level, rank in ranks[own].items()})
    titles = {
        level: f"{level}: Spearman {ranks[own][level].value:.2f} in-distribution"
        for level in OTHERS
    }
    metric_scatter(folder / "levels.png", logs, titles, own)
    return Finding(
        claim="metric",
        title=TITLE,
        verdict=verdict,
        because=because,
        numbers=_numbers(ranks, aurocs),
        tables=_tables(ranks, aurocs),
        pictures=[Picture("levels.png", _caption(own))],
        notes=_notes(study, parts, fit["low rank"]),
    )


def _measure(
    study: Study, parts: Parts
) -> tuple[dict[str, Features], dict[str, dict[str, Features]]]:
    """Return level -> features of the fitting part, and level -> set -> features."""
    fit, scored = {}, {}
    for level, make in LEVELS.items():
        fitted = make(study.seed).fit(
            parts.objective, parts.references, study.batch_size, study.progress
        )
        found = {}
        for name, samples in {"": parts.fit, **parts.scored}.items():
            place = f"metric-{level.replace(' ', '-')}-{safe_name(name) or 'for-the-density'}"
            found[name] = fitted.features(
                samples,
                study.batch_size,
                study.folder / "features" / place,
                study.progress,
                study.objective,
            )
        fit[level], scored[level] = found.pop(""), found
    return fit, scored


def log_metric(features: Features) -> Array:
    """Return ln(metric / dimensions) of each sample, the columns of all views summed, (N,)."""
    return logsumexp(features.values, axis=1) - np.log(max(int(features.numels.sum()), 1))


def spearman(a: Array, b: Array) -> Estimate:
    """Return the rank correlation of finite pairs with its 95% interval; nan where undefined.

    References:
        Sample size requirements for estimating Pearson, Kendall and Spearman correlations (Bonett
        and Wright, 2000, Psychometrika 65) has the standard error of atanh r.
    """
    fine = np.isfinite(a) & np.isfinite(b)
    a, b = a[fine], b[fine]
    if len(a) < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    r = float(spearmanr(a, b).statistic)
    inside = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    reach = norm.ppf(0.975) * np.sqrt((1 + r**2 / 2) / (len(a) - 3))
    low, high = np.tanh([inside - reach, inside + reach])
    return Estimate(r, min(r, float(low)), max(r, float(high)))


def judge(ranks: Mapping[str, float]) -> tuple[Verdict, str]:
    """Return the verdict and the numbers that decided; see the top of this module.

    Arguments:
        ranks: level -> rank correlation with the scaled identity; nan counts as none.
    """
    values = np.nan_to_num(list(ranks.values()), nan=-1.0)
    telling = [value for level, value in ranks.items() if level != "low rank"]
    words = ", ".join(f"{value:.2f} with {level}" for level, value in ranks.items())
    because = (
        f"Over in-distribution samples the rank correlation of the scaled identity is {words}; "
        f"all must be at least {ENOUGH} (in part: all positive and one of the first two at least "
        f"{ENOUGH})."
    )
    if (values >= ENOUGH).all():
        return "holds", because
    if (values > 0).all() and max(telling) >= ENOUGH:
        return "holds in part", because
    return "does not hold", because


Aurocs = dict[str, dict[str, Estimate]]  # level -> set


def _aurocs(study: Study, scores: Mapping[str, Mapping[str, Array]]) -> Aurocs:
    """Return the AUROC of each level's scores of each foreign set."""
    own, found = study.own.name, {}
    for level, sets in scores.items():
        clean = {name: np.nan_to_num(x, nan=np.inf, posinf=np.inf) for name, x in sets.items()}
        found[level] = estimates({n: clean[n] for n in (own, *study.foreign)}, own, study.seed)
    return found


def _density_scores(
    fit: Mapping[str, Features], scored: Mapping[str, Mapping[str, Features]]
) -> dict[str, dict[str, Array]]:
    """Return the scores of independent Gaussians on each level's columns."""
    return {
        level: judge_sets(LayerwiseGaussian(), fit[level], sets).scores
        for level, sets in scored.items()
    }


def _joined(sets: Mapping[str, Array]) -> Array:
    return np.concatenate(list(sets.values()))


def _numbers(ranks: Mapping[str, Mapping[str, Estimate]], aurocs: Mapping[str, Aurocs]) -> Numbers:
    found: Numbers = {}
    for where, values in ranks.items():
        found |= {f"Spearman, {where}, {level}": rank.value for level, rank in values.items()}
    for what, levels in aurocs.items():
        for level, sets in levels.items():
            found |= {f"AUROC, {what}, {level}, {n}": a.value for n, a in sets.items()}
    return found


def _tables(
    ranks: Mapping[str, Mapping[str, Estimate]], aurocs: Mapping[str, Aurocs]
) -> list[Table]:
    tables = [
        Table(
            f"Rank correlation (Spearman) with the {FIRST}, 95% interval",
            ["level", *ranks],
            [[level, *(str(values[level]) for values in ranks.values())] for level in OTHERS],
        )
    ]
    for what, levels in aurocs.items():
        sets = list(levels[FIRST])
        if sets:
            rows = [[level, *(str(found[n]) for n in sets)] for level, found in levels.items()]
            tables.append(Table(f"AUROC of the {what}, 95% interval", ["level", *sets], rows))
    return tables


def _caption(own: str) -> str:
    return (
        f"Logarithm of the metric per dimension at each level against that of the scaled identity: "
        f"0 is the mean of the reference samples. Black circles are {own}."
    )


def _notes(study: Study, parts: Parts, low_rank: Features) -> list[str]:
    proper = study.drawn is not None and parts.objective.kind == "likelihood"
    what = (
        "the Fisher information matrix"
        if proper
        else f"the second moment of the gradient of the {parts.objective.kind} on these, not the "
        "Fisher information matrix proper"
    )
    sizes = ", ".join(f"{len(samples)} of {name}" for name, samples in parts.scored.items())
    numels = low_rank.numels.tolist()
    found = sum(name.rsplit("/", 1)[-1].startswith("direction=") for name in low_rank.names)
    return [
        f"F is fitted on {parts.words}; it is {what}.",
        f"At most {SCORED} samples of each set are scored: {sizes}. The density is fitted on "
        f"{len(parts.fit)} others of {study.own.name}.",
        "Damping and rank are those under which one half of the references makes the other most "
        "likely; no foreign sample takes part.",
        f"Of the {sum(numels)} dimensions of the low-rank level {found} have a scale of their own, "
        "and the others that of their tensor as in the scaled identity: these two levels agree "
        "nearly by construction.",
    ]
