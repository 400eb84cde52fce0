"""Choosing between densities without a look at any out-of-distribution data."""

import copy

import numpy as np

from fimetric.detectors import Density
from fimetric.features import Features
from fimetric.screening import informative


def held_out_log_density(
    density: Density, features: Features, folds: int = 5, seed: int = 0
) -> float:
    """Return the mean log density of held-out in-distribution rows, in nats per row.

    Of two densities on the *same* features the one with the larger value describes them better. Of
    different features (two group sizes, two sets of timesteps) the values say nothing: they are
    densities of different variables.

    Arguments:
        density: a density whose score is minus a log density (``normalised``); left unfitted.
        features: (N, J) in-distribution features.
        folds: number of parts, each held out once; 2 <= folds <= N / 2.
        seed: seed of the split of rows.

    Raises:
        ValueError: where the score is not minus a log density, or folds do not fit N.
    """
    if not density.normalised:
        raise ValueError(
            f"the score of {density.name!r} is not minus a log density, so held-out values cannot "
            "be compared; pass a density with normalised = True"
        )
    if not 2 <= folds <= len(features) // 2:
        raise ValueError(f"{folds} folds of {len(features)} rows; take 2 to N / 2")
    kept = np.flatnonzero(informative(features))
    features = features.columns([features.names[j] for j in kept])
    parts = np.array_split(np.random.default_rng(seed).permutation(len(features)), folds)
    scores = []
    for held_out in parts:
        others = np.setdiff1d(np.arange(len(features)), held_out)
        fitted = copy.deepcopy(density).fit(features.select(others))
        scores.append(fitted.score(features.select(held_out)))
    return -float(np.concatenate(scores).mean())
