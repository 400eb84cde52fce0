"""The blocks: a number of a row each, standardised on own rows that it has not seen."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hidden import HIDDEN
from scipy.spatial.distance import cdist

from fimetric.detectors import LayerwiseGaussian, NearestNeighbours
from fimetric.detectors.own_distances import own_distances
from fimetric.features.groups import means, overlapping
from fimetric.features.table import CODE, COSTLY, Features

NEIGHBOURS = 5
Scorer = Callable[[Features], Any]  # a table -> (N,), higher = more anomalous, or columns (N, K)
Learner = Callable[[Features], Scorer]  # of own rows


@dataclass(frozen=True)
class Block:
    """A number of a row.

    Arguments:
        name: in the page.
        fit: learns from own rows; returns what scores others, and the scores of these rows.
        exists: whether a table has what it takes.
        within: how many blocks of columns it is made of.
    """

    name: str
    fit: Callable[[Features], tuple[Scorer, Any]]
    exists: Callable[[Features], bool] = lambda table: True
    within: int = 1


@dataclass(frozen=True)
class Standardised:
    """A fitted block: what scores rows, and the scores of the fitting rows, (n,)."""

    score: Scorer
    own: Any

    def __call__(self, table: Features) -> tuple[Any, Any]:
        """Return u (N,), and conformal p-values (N,) by the fitting rows."""
        found = self.score(table)
        u = (found - self.own.mean()) / max(self.own.std(), 1e-12)
        above = len(self.own) - np.searchsorted(np.sort(self.own), found, "left")
        return u, (1 + above) / (len(self.own) + 1)


def standardised(block: Block, table: Features, size: int) -> Standardised:
    """Fit a block on single rows, for groups of a size: as many as there are rows."""
    n = len(table)
    groups = table if size == 1 else means(table, overlapping(n, min(size, n), n, 0))
    return Standardised(*block.fit(groups))


def parts(table: Features, costly: bool) -> list[int]:
    """Return which parts of the loss are meant: no code lengths, and costly ones if they are."""
    others = (CODE, HIDDEN) if costly else (CODE, HIDDEN, *COSTLY)
    return [j for j, name in enumerate(table.part_names) if not name.startswith(others)]


def codes(table: Features) -> list[int]:
    """Return which parts are code lengths."""
    return [j for j, name in enumerate(table.part_names) if name.startswith(CODE)]


def shortest(table: Features) -> Any:
    """Return the shortest code length of each row, in nats."""
    return table.group_parts[:, codes(table)].min(1)


def of_parts(table: Features, costly: bool) -> Features:
    """Return a table whose columns are parts of the loss."""
    chosen = parts(table, costly)
    return table.with_columns(table.group_parts[:, chosen], [table.part_names[j] for j in chosen])


def neighbours(table: Features) -> tuple[Scorer, Any]:
    density = NearestNeighbours(NEIGHBOURS).fit(table)

    def score(other: Features) -> Any:
        return _log(density.score(other))

    return score, _log(own_distances(density.rows_, table, NEIGHBOURS))


def neighbours_of_parts(costly: bool) -> Callable[[Features], tuple[Scorer, Any]]:
    def fit(table: Features) -> tuple[Scorer, Any]:
        score, own = neighbours(of_parts(table, costly))
        return lambda other: score(of_parts(other, costly)), own

    return fit


def of_rows(fit: Callable[[Features], Scorer]) -> Callable[[Features], tuple[Scorer, Any]]:
    """Return the fit of a block of few numbers, which a single row hardly changes."""

    def fitted(table: Features) -> tuple[Scorer, Any]:
        score = fit(table)
        return score, score(table)

    return fitted


def paper(table: Features) -> Scorer:
    return LayerwiseGaussian().fit(table).score


def loss(table: Features) -> Scorer:
    """Score by the mean over the views of the loss, each in deviations of own rows."""
    mean, deviation = table.group_losses.mean(0), table.group_losses.std(0).clip(1e-12)
    return lambda other: ((other.group_losses - mean) / deviation).mean(1)


def code(table: Features) -> Scorer:
    """Score by what of the loss a linear function of the shortest code length leaves."""
    level = loss(table)
    slope, offset = np.polyfit(shortest(table), level(table), 1)
    return lambda other: level(other) - slope * shortest(other) - offset


def ratio(table: Features) -> Scorer:
    return lambda other: other.group_losses.mean(1) / shortest(other)


def worst(table: Features) -> Scorer:
    place = table.part_names.index("worst-fifth")
    return lambda other: other.group_parts[:, place]


def equal(*learners: Learner, local: bool = False) -> Callable[[Features], tuple[Scorer, Any]]:
    """Return neighbours where the columns of each learner weigh the same as a whole.

    Arguments:
        learners: table of own rows -> table -> columns (N, K); K may be 0.
        local: whether a distance is divided by that of the neighbours to theirs.
    """

    def fit(table: Features) -> tuple[Scorer, Any]:
        blocks = [learner(table) for learner in learners]
        centre = [(x.mean(0), x.std(0)) for x in (block(table) for block in blocks)]

        def brought(other: Features) -> Any:
            found = []
            for block, (mean, deviation) in zip(blocks, centre, strict=True):
                fine = deviation > 1e-12
                z = (block(other) - mean)[:, fine] / deviation[fine]
                found.append(z / math.sqrt(max(fine.sum(), 1)))
            return np.concatenate(found, 1)

        rows = brought(table)
        own = own_distances(rows, table, NEIGHBOURS)

        def score(other: Features) -> Any:
            distances = cdist(brought(other), rows, "sqeuclidean")
            places = np.argsort(distances, 1)[:, :NEIGHBOURS]
            near = np.take_along_axis(distances, places, 1).mean(1)
            return _log(near / own[places].mean(1) if local else near)

        return score, score(table) if local else _log(own)

    return fit


def of_norms(table: Features) -> Scorer:
    """Return the log norms and the losses."""
    return lambda other: np.concatenate([other.values, other.group_losses], 1)


def of_free_parts(table: Features) -> Scorer:
    return lambda other: other.group_parts[:, parts(table, False)]


def of_codes(table: Features) -> Scorer:
    return lambda other: other.group_parts[:, codes(table)]


def beside_codes(fit: Callable[[Features], Scorer]) -> Learner:
    """Return a number of each row, without columns where there are no codes."""

    def learn(table: Features) -> Scorer:
        if not codes(table):
            return of_codes(table)
        found = fit(table)
        return lambda other: found(other)[:, None]

    return learn


def side_by_side(*learners: Learner) -> Learner:
    def learn(table: Features) -> Scorer:
        found = [learner(table) for learner in learners]
        return lambda other: np.concatenate([each(other) for each in found], 1)

    return learn


def _log(distances: Any) -> Any:
    return np.log(np.maximum(distances, 1e-300))


def has_codes(table: Features) -> bool:
    return bool(codes(table))


BLOCKS = {
    block.name: block
    for block in (
        Block("norms", neighbours),
        Block("paper", of_rows(paper)),
        Block("loss", of_rows(loss)),
        Block("parts", neighbours_of_parts(False), lambda t: bool(parts(t, False))),
        Block("more parts", neighbours_of_parts(True), lambda t: bool(parts(t, True))),
        Block("code", of_rows(code), has_codes),
        Block("ratio", of_rows(ratio), has_codes),
        Block("worst", of_rows(worst), lambda t: "worst-fifth" in t.part_names),
    )
}
WITH_RESIDUAL = side_by_side(of_codes, beside_codes(code))  # the choice of the second round
SINGLE = {
    block.name: block
    for block in (
        Block("equal blocks", equal(of_norms, of_free_parts), within=2),
        Block("equal blocks and codes", equal(of_norms, of_free_parts, of_codes), within=3),
        Block("equal blocks, local scale", equal(of_norms, of_free_parts, local=True), within=2),
        Block(
            "equal blocks and codes, local scale",
            equal(of_norms, of_free_parts, of_codes, local=True),
            within=3,
        ),
        Block(
            "equal blocks and codes with ratio",
            equal(of_norms, of_free_parts, side_by_side(of_codes, beside_codes(ratio))),
            within=3,
        ),
        Block(
            "equal blocks and codes with residual",
            equal(of_norms, of_free_parts, WITH_RESIDUAL),
            within=3,
        ),
        Block(
            "equal blocks, codes and ratio",
            equal(of_norms, of_free_parts, of_codes, beside_codes(ratio)),
            within=4,
        ),
        Block(
            "equal blocks, codes and residual",
            equal(of_norms, of_free_parts, of_codes, beside_codes(code)),
            within=4,
        ),
    )
}
