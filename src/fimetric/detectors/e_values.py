"""Several numbers of a row, each as an e-value, and their mean."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fimetric.arguments import listed
from fimetric.detectors.base import Density, finite_parts, finite_rows
from fimetric.detectors.code_residual import (
    code_line,
    codes_among,
    level,
    loss_scale,
    residual,
    shortest,
)
from fimetric.detectors.combined_tests import upper
from fimetric.detectors.nearest_neighbours import NearestNeighbours
from fimetric.detectors.own_distances import own_distances
from fimetric.features import screening
from fimetric.features.screening import NO_SPREAD
from fimetric.features.table import CODE, COSTLY, Features
from fimetric.typing import Array

NORMS, PARTS, MORE, WORST = "norms", "parts", "more parts", "worst-fifth"
NEAREST = (NORMS, PARTS, MORE)  # blocks of many columns, told by distances
NUMBERS = ("loss", "code", "ratio", "worst")
SLOPE = 1e-3  # orders rows whose p-values are as small as they can be
LOWEST = -10.0  # of u: what is far below its mean must not hide what is above
LEAST = 1e-300


class EValues(Density):
    r"""Creates the mean e-value of several blocks of numbers of a row.

    .. math:: s = \frac1B \sum_b \frac{1}{2 \sqrt{p_b}} + \frac{1}{1000} \sum_b u_b

    Here p is the conformal p-value of a block by the fitting rows and u its value in their standard
    deviations, -10 at least, and 0 where they have none. Blocks: ``norms``, the log distance to the
    nearest fitting rows in log norms and losses; ``parts``, the same in the parts of the loss and
    the losses, and ``more parts``, in those too that take passes of their own; ``loss``, the loss;
    ``code``, what of it the shortest code length of the sample does not tell; ``ratio``, the loss
    over that length; ``worst``, the mean of the worst fifth of its positions. Blocks that a table
    does not have are left out, and so is the ratio where a fitting row has a loss of 0 or less.
    Without ``norms`` a detector takes no gradient.

    Arguments:
        blocks: names of blocks, each once.

    Raises:
        ValueError: for unknown blocks, or none.
        TypeError: for what lists no names.

    References:
        Combining p-values via averaging (Vovk and Wang, 2020), arXiv:1212.4966, and E-values:
        Calibration, combination and applications (Vovk and Wang, 2021), arXiv:1912.06116, for
        1 / (2 sqrt p); docs/results/blocks.md for which blocks.
    """

    name = "e-values"

    parts_: tuple[str, ...]  # those that are numbers of all fitting rows
    found_: tuple[str, ...]  # blocks that the fitting rows have
    scale_: Array  # (2, V) of the losses
    line_: Array  # slope and offset of the loss on the shortest code length
    positive_: bool  # whether all losses of the fitting rows are
    own_: Array  # (B, n) values of the fitting rows, in order
    nearest_: dict[str, NearestNeighbours]  # of blocks that are told by distances

    def __init__(self, blocks: Sequence[str] = ("loss", PARTS, "ratio")) -> None:
        self.blocks = listed("blocks", blocks, "['loss', 'parts']")
        unknown = [block for block in self.blocks if block not in (*NEAREST, *NUMBERS)]
        if unknown or not self.blocks or len(set(self.blocks)) < len(self.blocks):
            raise ValueError(
                f"blocks must be some of {', '.join((*NEAREST, *NUMBERS))}, each once; not "
                f"{self.blocks}"
            )

    @property
    def parts(self) -> str:  # type: ignore[override]
        """Which parts of the losses it reads, see ``Density``."""
        return "costly" if MORE in self.blocks else "free"

    @property
    def gradient(self) -> bool:  # type: ignore[override]
        """Whether it reads norms, see ``Density``."""
        return NORMS in self.blocks

    def fit(self, features: Features) -> Self:
        """Learn from in-distribution rows, N >= 2; see ``Density.fit``.

        Raises:
            ValueError: where a row is not finite, there are fewer than two rows, or none of the
                blocks.
            UninformativeError: where norms are asked for and none is informative.
        """
        features = self.read(features)
        if len(features) < 2:
            raise ValueError(f"cannot fit a density to {len(features)} rows; pass at least two")
        screening.refuse_strange(features)
        named = zip(features.part_names, features.parts.T, strict=True)
        self.parts_ = tuple(name for name, numbers in named if np.isfinite(numbers).all())
        self.scale_, self.line_ = loss_scale(features), np.zeros(2)
        self.positive_ = bool((features.group_losses > 0).all())
        if codes := self._codes():
            self.line_ = code_line(features, self.scale_, codes)
        self.nearest_, own = {}, {}
        for block in filter(self._exists, self.blocks):
            try:
                own[block] = self._own(block, features)
            except screening.UninformativeError:
                if block == NORMS:
                    raise
        if not own:
            raise ValueError(f"none of the blocks {', '.join(self.blocks)} is in {features!r}")
        self.found_, self.own_ = tuple(own), np.sort(list(own.values()), axis=1)
        return self

    def score(self, features: Features) -> Array:
        """Return scores (N,), higher = more anomalous; see ``Density.score``."""
        self._require_fit("own_")
        features = self.read(features)
        fine = finite_rows(features) & finite_parts(features, self._parts_read())
        scores = np.full(len(features), np.inf)
        table = features.select(fine)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            joined = sum(
                self._joined(self._values(block, table), own)
                for block, own in zip(self.found_, self.own_, strict=True)
            )
        scores[fine] = joined / len(self.found_)
        scores[np.isnan(scores)] = np.inf  # inf - inf, after an overflow
        return scores

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return all that ``from_state`` needs, see ``Density.state``."""
        arrays, description = super().state()
        told = description["learned"]
        for block, density in told.pop("nearest_", {}).items():
            inner, told[f"{block}/"] = density.state()
            arrays |= {f"{block}/{key}": array for key, array in inner.items()}
        return arrays, description

    @classmethod
    def from_state(cls, arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> Self:
        """Return the density whose ``state`` this is, see ``Density.from_state``."""
        learned, nested = dict(description["learned"]), {}
        for start in [key for key in learned if key.endswith("/")]:
            inner = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
            nested[start[:-1]] = NearestNeighbours.from_state(inner, learned.pop(start))
        own = {key: array for key, array in arrays.items() if "/" not in key}
        learned["nearest_"] = nested
        return super().from_state(own, {**description, "learned": learned})

    def _joined(self, values: Array, own: Array) -> Array:
        """Return e-values (N,) of a block, and a little of how far it is from its mean."""
        spread = own.std() if np.ptp(own) > NO_SPREAD * np.abs(own).max() else np.inf
        u = np.maximum((values - own.mean()) / spread, LOWEST)
        return 0.5 / np.sqrt(upper(own, values)) + SLOPE * len(self.found_) * u

    def _exists(self, block: str) -> bool:
        if block == "ratio" and not self.positive_:
            return False  # a ratio to a negative loss is the other way round
        if block in ("code", "ratio"):
            return bool(self._codes())
        if block == "worst":
            return WORST in self.parts_
        return block in (NORMS, "loss") or bool(self._parts_of(block))

    def _codes(self) -> list[str]:
        return codes_among(self.parts_)

    def _parts_of(self, block: str) -> list[str]:
        costly = block == MORE
        return [
            name
            for name in self.parts_
            if not name.startswith(CODE) and (costly or not name.startswith(COSTLY))
        ]

    def _parts_read(self) -> list[str]:
        """Return the names of the parts that the blocks are made of."""
        read: set[str] = set()
        for block in self.found_:
            read.update(self._parts_of(block) if block in (PARTS, MORE) else ())
            read.update(self._codes() if block in ("code", "ratio") else ())
            read.update([WORST] if block == "worst" else ())
        return [name for name in self.parts_ if name in read]

    def _own(self, block: str, features: Features) -> Array:
        """Return the values (n,) of the fitting rows themselves, none a neighbour of its own."""
        if block not in NEAREST:
            return self._values(block, features)
        table = self._table(block, features)
        density = self.nearest_[block] = NearestNeighbours().fit(table)
        return _log(own_distances(density.rows_, table, density.neighbours))

    def _values(self, block: str, features: Features) -> Array:
        """Return what a block says of rows, (N,)."""
        if block in NEAREST:
            return _log(self.nearest_[block].score(self._table(block, features)))
        if block == "loss":
            return level(features, self.scale_)
        if block == "worst":
            return features.parts_named([WORST])[:, 0]
        if block == "ratio":
            return features.group_losses.mean(1) / shortest(features, self._codes())
        return residual(features, self.scale_, self.line_, self._codes())

    def _table(self, block: str, features: Features) -> Features:
        if block == NORMS:
            return features
        names = self._parts_of(block)
        return features.with_columns(features.parts_named(names), names)


def _log(distances: Array) -> Array:
    return np.log(np.maximum(distances, LEAST))
