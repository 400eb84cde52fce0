"""The blocks: a number of a row each, standardised on own rows that it has not seen."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from fimetric.detectors import LayerwiseGaussian, NearestNeighbours
from fimetric.features.groups import means, overlapping
from fimetric.features.table import Features

FOLDS, NEIGHBOURS = 5, 5
CODE, COSTLY = "code/", ("iwae", "loss/t=")
Scorer = Callable[[Features], Any]  # a table -> (N,), higher = more anomalous


@dataclass(frozen=True)
class Block:
    """A number of a row.

    Arguments:
        name: in the page.
        fit: learns from own rows and returns what scores others.
        exists: whether a table has what it takes.
    """

    name: str
    fit: Callable[[Features], Scorer]
    exists: Callable[[Features], bool] = lambda table: True


@dataclass(frozen=True)
class Standardised:
    """A fitted block: its score, and the scores of own rows by densities that had not seen them."""

    score: Scorer
    unseen: Any  # (n,)

    def __call__(self, table: Features) -> tuple[Any, Any]:
        """Return u (N,), and conformal p-values (N,) by the unseen rows."""
        found = self.score(table)
        u = (found - self.unseen.mean()) / max(self.unseen.std(), 1e-12)
        above = len(self.unseen) - np.searchsorted(np.sort(self.unseen), found, "left")
        return u, (1 + above) / (len(self.unseen) + 1)


def standardised(block: Block, table: Features, size: int) -> Standardised:
    """Fit a block on single rows, for groups of a size."""
    fold = np.random.default_rng(0).permutation(len(table)) % FOLDS
    unseen = []
    for k in range(FOLDS):
        score = block.fit(_groups(table.select(fold != k), size))
        unseen.append(score(_groups(table.select(fold == k), size)))
    return Standardised(block.fit(_groups(table, size)), np.concatenate(unseen))


def _groups(table: Features, size: int) -> Features:
    """Return as many groups as there are rows; they share samples, and so are to fit on alone."""
    n = len(table)
    return table if size == 1 else means(table, overlapping(n, min(size, n), n, 0))


def parts(table: Features, costly: bool) -> list[int]:
    """Return which parts of the loss are meant: no code lengths, and costly ones if they are."""
    return [
        j
        for j, name in enumerate(table.part_names)
        if not name.startswith(CODE) and (costly or not name.startswith(COSTLY))
    ]


def codes(table: Features) -> list[int]:
    """Return which parts are code lengths."""
    return [j for j, name in enumerate(table.part_names) if name.startswith(CODE)]


def shortest(table: Features) -> Any:
    """Return the shortest code length of each row, in nats."""
    return table.group_parts[:, codes(table)].min(1)


def of_parts(table: Features, costly: bool) -> Features:
    """Return a table whose columns are parts of the loss."""
    chosen = parts(table, costly)
    return replace(
        table,
        values=table.group_parts[:, chosen],
        names=tuple(table.part_names[j] for j in chosen),
        bounds=np.zeros(len(chosen)),
        numels=np.ones(len(chosen), dtype=np.int64),
    )


def neighbours(table: Features) -> Scorer:
    density = NearestNeighbours(NEIGHBOURS).fit(table)
    return lambda other: np.log(np.maximum(density.score(other), 1e-300))


def neighbours_of_parts(costly: bool) -> Callable[[Features], Scorer]:
    def fit(table: Features) -> Scorer:
        score = neighbours(of_parts(table, costly))
        return lambda other: score(of_parts(other, costly))

    return fit


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


def equal(with_codes: bool, local: bool) -> Callable[[Features], Scorer]:
    """Return neighbours where norms with losses, parts and code lengths weigh the same as wholes.

    Arguments:
        with_codes: whether code lengths are a block.
        local: whether a distance is divided by that of the neighbours to theirs.
    """

    def columns(table: Features) -> list[Any]:
        own = [np.concatenate([table.values, table.group_losses], 1)]
        chosen = [parts(table, False), codes(table) if with_codes else []]
        return own + [table.group_parts[:, places] for places in chosen if places]

    def fit(table: Features) -> Scorer:
        blocks = columns(table)
        centre = [(x.mean(0), x.std(0)) for x in blocks]

        def brought(other: Features) -> Any:
            found = []
            for x, (mean, deviation) in zip(columns(other), centre, strict=True):
                fine = deviation > 1e-12
                found.append((x - mean)[:, fine] / deviation[fine] / math.sqrt(max(fine.sum(), 1)))
            return np.concatenate(found, 1)

        rows = brought(table)
        own = np.sort(cdist(rows, rows, "sqeuclidean"), 1)[:, 1 : NEIGHBOURS + 1].mean(1)

        def score(other: Features) -> Any:
            distances = cdist(brought(other), rows, "sqeuclidean")
            places = np.argsort(distances, 1)[:, :NEIGHBOURS]
            near = np.take_along_axis(distances, places, 1).mean(1)
            scale = own[places].mean(1) if local else 1.0
            return np.log(np.maximum(near / scale, 1e-300))

        return score

    return fit


def has_codes(table: Features) -> bool:
    return bool(codes(table))


BLOCKS = {
    block.name: block
    for block in (
        Block("norms", neighbours),
        Block("paper", paper),
        Block("loss", loss),
        Block("parts", neighbours_of_parts(False), lambda t: bool(parts(t, False))),
        Block("more parts", neighbours_of_parts(True), lambda t: bool(parts(t, True))),
        Block("code", code, has_codes),
        Block("ratio", ratio, has_codes),
        Block("worst", worst, lambda t: "worst-fifth" in t.part_names),
    )
}
SINGLE = {
    block.name: block
    for block in (
        Block("equal blocks", equal(False, False)),
        Block("equal blocks and codes", equal(True, False)),
        Block("equal blocks, local scale", equal(False, True)),
        Block("equal blocks and codes, local scale", equal(True, True)),
    )
}
