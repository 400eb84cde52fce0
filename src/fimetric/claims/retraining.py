"""Models retrained on the same data in another representation: do they rank samples alike?

For one and the same model a change of representation moves no gradient (``claims.invariance``).
Here is what is asked in practice: a model of its own is trained, by one recipe, on y = T(x) for
each of several T, and scores every sample as T shows it. Each model has its own seed, so between
any two of them lies the chance of training as well as the representation; two seeds of the plain
representation show how much chance alone does.

Criterion, written before any number was seen. Over in-distribution and foreign samples together,
with the mean taken over all pairs of models in different representations:

    (a) the mean rank correlation of the norm scores is at least 0.8 times the rank correlation of
        the norm scores of two seeds of the plain representation;
    (b) it is larger than the mean rank correlation of the likelihoods, each in the units of its own
        representation.

It holds where both are true, in part where one is, else it does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from fimetric.claims.finding import Finding, Picture, Table, Verdict
from fimetric.claims.pictures.invariance import correlation_maps
from fimetric.claims.ways import LIKELIHOOD, NORMS, SCORES, Scores, Way, ways
from fimetric.data import Samples
from fimetric.fisher.rankings import mean_correlation, rank_correlations
from fimetric.metrics import Estimate, auroc
from fimetric.store.files import safe_name
from fimetric.typing import Array

SHARE = 0.8  # of the agreement of two seeds, which different representations have to reach
TITLE = "Models retrained on other representations of the data rank samples alike by their norms"


@dataclass(frozen=True)
class Retrained:
    """A model trained in one way, and what it scores.

    Arguments:
        way: the representation, and the seed.
        bits: best validation bits per dimension, in the units that the model was trained in.
        scores: score -> set -> scores (n,), higher = more anomalous.
    """

    way: Way
    bits: float
    scores: Scores


def retrain(
    data: Samples,
    own: Samples,
    foreign: Mapping[str, Samples],
    folder: Path,
    *,
    kind: str = "glow",
    config: Any = "tiny",
    steps: int = 2500,
    seed: int = 0,
    limit: int = 1000,
    batch_size: int = 64,
    **settings: Any,
) -> Finding:
    """Train a model on each representation of the data, and compare how they rank samples.

    Called again with the same arguments it goes on where it was stopped.

    Arguments:
        data: 8-bit images to train on.
        own: images of the same kind that are not trained on; half of them fit the densities, the
            other half is scored.
        foreign: name -> out-of-distribution images; at least one set.
        folder: where models, features and the picture go.
        kind, config: of the model, see ``fimetric.models.build``.
        steps: of each training; further ``settings`` of ``fimetric.training.train`` by name.
        seed: of the dequantisation, and of the choice of samples.
        limit: samples taken of each foreign set, and for each half of the own one.
        batch_size: samples in a step of a training, and to a forward pass.

    Raises:
        ValueError: where there is no foreign set, shapes differ, or images are not of 8 bits.
    """
    _check(data, own, foreign)
    sets = {own.name: _some(own, 2 * limit, seed)}
    sets |= {name: _some(samples, limit, seed) for name, samples in foreign.items()}
    mine = sets.pop(own.name)
    found = []
    for way in ways(data.shape, kind):
        place = folder / safe_name(way.name.replace(", ", "-").replace(" ", "-"))
        model, history = way.train(
            data,
            place / "model",
            kind,
            config,
            noise=seed,
            steps=steps,
            batch_size=batch_size,
            **settings,
        )
        scores = way.scores(model, mine, sets, place / "features", seed, batch_size)
        found.append(Retrained(way, history.best, scores))
    return compare(found, own.name, folder, seed)


def compare(found: Sequence[Retrained], own: str, folder: Path, seed: int = 0) -> Finding:
    """Judge by the criterion above.

    Arguments:
        found: models in different ways, two of them plain.
        own: name of the in-distribution set.
        folder: where the picture goes.
        seed: of the bootstrap.
    """
    names = [each.way.name for each in found]
    pairs = list(combinations(range(len(found)), 2))
    alike = [(i, j) for i, j in pairs if found[i].way.plain and found[j].way.plain]
    apart = [pair for pair in pairs if pair not in alike]
    everything = {score: _stacked(found, score) for score in SCORES}
    between = {s: mean_correlation(v, apart, seed=seed) for s, v in everything.items()}
    chance = {s: mean_correlation(v, alike, seed=seed) for s, v in everything.items()}
    mine = {score: _stacked(found, score, own) for score in SCORES}
    between_mine = {s: mean_correlation(v, apart, seed=seed) for s, v in mine.items()}
    chance_mine = {s: mean_correlation(v, alike, seed=seed) for s, v in mine.items()}
    verdict, because = _judge(between, chance)
    maps = {score: rank_correlations(everything[score]) for score in (LIKELIHOOD, NORMS)}
    correlation_maps(folder / "rank-correlations.png", names, maps)
    return Finding(
        claim="retraining",
        title=TITLE,
        verdict=verdict,
        because=because,
        numbers=_numbers(between, chance, between_mine, chance_mine),
        tables=[
            _summary(between, chance, between_mine, chance_mine),
            _against_plain(found, maps),
            *(_matrix(score, names, maps[score]) for score in maps),
            _aurocs(found, own),
        ],
        pictures=[
            Picture(
                "rank-correlations.png",
                "Rank correlations between models trained on different representations, over "
                "in-distribution and foreign samples: of their likelihoods and of the scores from "
                "their layers' norms. The first two differ by the seed alone.",
            )
        ],
        notes=NOTES,
    )


NOTES = (
    "Every model has its own seed. x is dequantised once, then represented; the recipe adds its "
    "own dequantisation noise to y as it would to any data.",
    "A likelihood in units of x is the one in the model's own representation, mended by "
    "log |det dT/dx|, which is known; it has no bearing on the verdict.",
    "Intervals are over samples. There is one training for each representation, and one pair of "
    "seeds, so the chance of training is seen once only.",
)


def _judge(between: Mapping[str, Estimate], chance: Mapping[str, Estimate]) -> tuple[Verdict, str]:
    norms, seeds, likelihood = between[NORMS], chance[NORMS], between[LIKELIHOOD]
    enough, larger = norms.value >= SHARE * seeds.value, norms.value > likelihood.value
    verdicts: tuple[Verdict, ...] = ("does not hold", "holds in part", "holds")
    return verdicts[enough + larger], (
        f"Between different representations the norm scores have a mean rank correlation of "
        f"{norms}, {'at least' if enough else 'less than'} {SHARE} times that of two seeds of one "
        f"representation, {seeds}, and {'larger' if larger else 'not larger'} than that of the "
        f"likelihoods, {likelihood}."
    )


def _stacked(found: Sequence[Retrained], score: str, only: str | None = None) -> Array:
    """Return one score (R, n) of all models, over one set or all of them end to end."""
    return np.stack(
        [
            np.concatenate([v for name, v in each.scores[score].items() if only in (None, name)])
            for each in found
        ]
    )


def _numbers(*estimates: Mapping[str, Estimate]) -> dict[str, float]:
    where = ("between representations", "two seeds", "between, own alone", "two seeds, own alone")
    return {
        f"{score}: {place}": each[score].value
        for place, each in zip(where, estimates, strict=True)
        for score in SCORES
    }


def _summary(*estimates: Mapping[str, Estimate]) -> Table:
    return Table(
        "Mean rank correlations, with 95% intervals over samples",
        [
            "score",
            "between representations",
            "two seeds of one",
            "between representations, in-distribution alone",
            "two seeds of one, in-distribution alone",
        ],
        [[score, *(str(each[score]) for each in estimates)] for score in SCORES],
    )


def _against_plain(found: Sequence[Retrained], maps: Mapping[str, Array]) -> Table:
    """Return each representation's mean correlation with the plain models: which one stands out?"""
    plain = [k for k, each in enumerate(found) if each.way.plain]
    rows = []
    for k, each in enumerate(found):
        others = [j for j in plain if j != k]
        rows.append([each.way.name, *(f"{maps[score][k, others].mean():.3f}" for score in maps)])
    headings = ["representation", *maps]
    return Table("Mean rank correlation with the plain models, itself left out", headings, rows)


def _matrix(score: str, names: Sequence[str], values: Array) -> Table:
    rows = [
        [name, *(f"{value:.3f}" for value in row)] for name, row in zip(names, values, strict=True)
    ]
    return Table(f"Rank correlations, {score}", ["", *names], rows)


def _aurocs(found: Sequence[Retrained], own: str) -> Table:
    rows = []
    for each in found:
        for name in each.scores[NORMS]:
            if name != own:
                cells = [f"{auroc(v[own], v[name]):.3f}" for v in each.scores.values()]
                rows.append([each.way.name, f"{each.bits:.3f}", name, *cells])
    headings = ["representation", "validation bits/dim", "foreign set", *SCORES]
    return Table(f"AUROC against {own}, single samples", headings, rows)


def _some(samples: Samples, limit: int, seed: int) -> Samples:
    order = np.random.default_rng(seed).permutation(len(samples))[:limit]
    return samples.select(order.tolist())


def _check(data: Samples, own: Samples, foreign: Mapping[str, Samples]) -> None:
    if not foreign:
        raise ValueError("name at least one foreign set: ranks are compared over own and foreign")
    if own.name in foreign:
        raise ValueError(f"{own.name} is in-distribution; it cannot be foreign too")
    for name, samples in {data.name: data, own.name: own, **foreign}.items():
        if not samples.quantised:
            raise ValueError(f"{name} holds floats; dequantisation is for 8-bit images, uint8")
    for name, samples in {"held-out data": own, **foreign}.items():
        if samples.shape != data.shape:
            raise ValueError(
                f"{name} has samples of shape {samples.shape}, the training data {data.shape}; "
                "load both with the same size= and channels="
            )
    if len(own) < 4:
        raise ValueError(f"{own.name} has {len(own)} samples; half of them must fit a density")
