"""Blocks for models of many layers: what few columns tell, and what goes into the last layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
from blocks import (
    WITH_RESIDUAL,
    Block,
    Scorer,
    equal,
    neighbours,
    of_free_parts,
    of_norms,
    of_rows,
)
from hidden import HIDDEN
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf

from fimetric.detectors import FullGaussian
from fimetric.features.table import Features

SHARE = 0.5  # of the variance of own rows, which the common components have
FOLDS = 5


def common(table: Features) -> Scorer:
    """Return the principal components that have half of the variance of the norms."""
    bring, axes = _components(table)
    return lambda other: bring(other) @ axes


def rest(table: Features) -> Scorer:
    """Return what of the norms these components leave, each column in deviations of own rows."""
    bring, axes = _components(table)

    def left(other: Features) -> Any:
        z = bring(other)
        return z - z @ axes @ axes.T

    deviation = left(table).std(0)
    fine = deviation > 1e-6
    return lambda other: left(other)[:, fine] / deviation[fine]


def profile(table: Features) -> tuple[Scorer, Any]:
    found = rest(table)
    score, own = neighbours(_as_columns(table, found))
    return lambda other: score(_as_columns(other, found)), own


def peak(columns: Callable[[Features], Scorer]) -> Callable[[Features], Scorer]:
    r"""Return the log of the mean of exp(z^2 / 4) over columns, which few large ones make large."""

    def fit(table: Features) -> Scorer:
        found = columns(table)
        mean, deviation = found(table).mean(0), found(table).std(0)
        fine = deviation > 1e-12

        def score(other: Features) -> Any:
            z = (found(other) - mean)[:, fine] / deviation[fine]
            return logsumexp(np.square(z) / 4, axis=1, b=1 / max(fine.sum(), 1))

        return score

    return fit


def of_hidden(table: Features) -> Scorer:
    chosen = [j for j, name in enumerate(table.part_names) if name.startswith(HIDDEN)]
    return lambda other: other.group_parts[:, chosen]


def whitened_hidden(table: Features) -> Scorer:
    """Return hidden states whose correlations, drawn to none by Ledoit and Wolf, are taken off."""
    found = of_hidden(table)
    x = found(table)
    mean, deviation = x.mean(0), x.std(0)
    fine = deviation > 1e-12
    z = (x - mean)[:, fine] / deviation[fine]
    root = np.linalg.cholesky(ledoit_wolf(z, assume_centered=True)[0])
    return lambda other: (
        solve_triangular(root, ((found(other) - mean)[:, fine] / deviation[fine]).T, lower=True).T
    )


def mahalanobis(columns: Callable[[Features], Scorer]) -> Callable[[Features], tuple[Scorer, Any]]:
    """Return a Gaussian of shrunk covariance on some columns, in folds on own rows."""

    def on(table: Features) -> Scorer:
        found = columns(table)
        density = FullGaussian().fit(_as_columns(table, found))
        return lambda other: density.score(_as_columns(other, found))

    def fit(table: Features) -> tuple[Scorer, Any]:
        fold = np.random.default_rng(0).permutation(len(table)) % FOLDS
        own = np.empty(len(table))
        for k in range(FOLDS):
            own[fold == k] = on(table.select(fold != k))(table.select(fold == k))
        return on(table), own

    return fit


def neighbours_of_hidden(table: Features) -> tuple[Scorer, Any]:
    score, own = neighbours(_as_columns(table, of_hidden(table)))
    return lambda other: score(_as_columns(other, of_hidden(table))), own


def has_hidden(table: Features) -> bool:
    return any(name.startswith(HIDDEN) for name in table.part_names)


DEEP = {
    block.name: block
    for block in (
        Block("profile", profile),
        Block("peak", of_rows(peak(of_norms))),
        Block("peak of the rest", of_rows(peak(rest))),
        Block("whitened", mahalanobis(of_norms)),
        Block("hidden", mahalanobis(of_hidden), has_hidden),
        Block("neighbours of hidden", neighbours_of_hidden, has_hidden),
    )
}
TWO_OF_NORMS = {
    block.name: block
    for block in (
        Block(
            "equal blocks, norms in two",
            equal(common, rest, of_free_parts, WITH_RESIDUAL),
            within=4,
        ),
        Block(
            "equal blocks and hidden",
            equal(of_norms, of_free_parts, WITH_RESIDUAL, of_hidden),
            within=4,
        ),
        Block(
            "equal blocks and whitened hidden",
            equal(of_norms, of_free_parts, WITH_RESIDUAL, whitened_hidden),
            within=4,
        ),
        Block(
            "equal blocks, norms in two, and whitened hidden",
            equal(common, rest, of_free_parts, WITH_RESIDUAL, whitened_hidden),
            within=5,
        ),
    )
}


def _components(table: Features) -> tuple[Scorer, Any]:
    """Return what standardises the norms, and the axes (J, r) of the common components."""
    x = of_norms(table)(table)
    mean, deviation = x.mean(0), x.std(0)
    fine = deviation > 1e-12

    def bring(other: Features) -> Any:
        return (of_norms(table)(other) - mean)[:, fine] / deviation[fine]

    _, sizes, axes = np.linalg.svd(bring(table), full_matrices=False)
    told = np.cumsum(np.square(sizes)) / np.square(sizes).sum()
    return bring, axes[: 1 + int(np.searchsorted(told, SHARE))].T


def _as_columns(table: Features, columns: Scorer) -> Features:
    x = columns(table)
    return table.with_columns(x, [f"column {j}" for j in range(x.shape[1])])
