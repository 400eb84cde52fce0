"""The candidates: which blocks make a score, and how they are joined."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from blocks import BLOCKS, SINGLE, Block
from deep import DEEP, TWO_OF_NORMS

ALWAYS = ("norms", "paper", "loss")  # blocks that every model has
APART = (("parts", "more parts"), ("code", "ratio"))  # of which a score has one at most
BALANCED = "equal blocks and codes"
BESIDE = ("loss", "code", "ratio", "worst")  # one-sided, beside the neighbours in both directions
CHOSEN = "equal blocks and codes with residual"  # by the second round
HIDDEN = ("hidden", "neighbours of hidden")
GRADIENT, COSTLY = (
    {"norms", "paper", "profile", "peak", "peak of the rest", "whitened"},
    {"more parts"},
)
SINGLES = {**SINGLE, **TWO_OF_NORMS}
ALL: dict[str, Block] = {**BLOCKS, **DEEP, **SINGLES}
MOST = 4  # blocks
SLOPE = 1e-3  # orders what is below all means
Found = Mapping[str, tuple[Any, Any]]  # block -> u and p-values, (N,) each


def squares(u: Any, p: Any) -> Any:
    return np.square(np.maximum(u, 0)).sum(0) + SLOPE * u.sum(0)


def largest(u: Any, p: Any) -> Any:
    return u.max(0)


def fisher(u: Any, p: Any) -> Any:
    return -np.log(p).sum(0) + SLOPE * u.sum(0)  # the slope parts what is beyond all own rows


def harmonic(u: Any, p: Any) -> Any:
    return (1 / p).mean(0) + SLOPE * u.sum(0)


def e_value(u: Any, p: Any) -> Any:
    return (0.5 / np.sqrt(p)).mean(0) + SLOPE * u.sum(0)


JOINED: dict[str, Callable[[Any, Any], Any]] = {
    "sum of squares": squares,
    "largest": largest,
    "Fisher's sum": fisher,
    "harmonic mean": harmonic,
    "mean e-value": e_value,
}


@dataclass(frozen=True)
class Candidate:
    """Blocks and how they are joined; a model that does not have a block goes without it."""

    blocks: tuple[str, ...]
    join: str = ""

    @property
    def name(self) -> str:
        return " + ".join(self.blocks) + (f", {self.join}" if len(self.blocks) > 1 else "")

    @property
    def costly(self) -> bool:
        """Whether it needs passes beside those of the gradient."""
        return not COSTLY.isdisjoint(self.blocks)

    @property
    def gradient(self) -> bool:
        return not GRADIENT.isdisjoint(self.blocks) or self.blocks[0] in SINGLES

    @property
    def within(self) -> int:
        """How many blocks it has, those within a single density counted one by one."""
        return sum(ALL[block].within for block in self.blocks)

    def scores(self, found: Found) -> Any:
        """Return scores (N,), higher = more anomalous."""
        u, p = (np.stack([found[b][k] for b in self.blocks if b in found]) for k in (0, 1))
        return u[0] if len(self.blocks) == 1 else JOINED[self.join](u, p)


def candidates() -> list[Candidate]:
    """Return all that are compared."""
    return [*_of_two_rounds(), *_of_the_third()]


def _of_two_rounds() -> list[Candidate]:
    found = [Candidate((name,)) for name in (*ALWAYS, *SINGLE)]
    for count in range(2, MOST + 1):
        for blocks in combinations(BLOCKS, count):
            if set(blocks) & set(ALWAYS) and all(len(set(blocks) & set(a)) < 2 for a in APART):
                found += [Candidate(blocks, join) for join in JOINED]
    for count in (1, 2):
        for blocks in combinations(BESIDE, count):
            if not {"code", "ratio"} <= set(blocks):
                found += [Candidate((BALANCED, *blocks), join) for join in JOINED]
    return found


def _of_the_third() -> list[Candidate]:
    """Return what was added for models of many layers; those of hidden states need no gradient."""
    found = [Candidate((name,)) for name in (*HIDDEN, *TWO_OF_NORMS)]
    for count in (1, 2):
        for blocks in combinations(DEEP, count):
            found += [Candidate((CHOSEN, *blocks), join) for join in JOINED]
    for hidden in HIDDEN:
        for count in (1, 2, 3):
            for blocks in combinations(("loss", "parts", "code", "ratio", "worst"), count):
                if not {"code", "ratio"} <= set(blocks):
                    found += [Candidate((hidden, *blocks), join) for join in JOINED]
    return found


SHIPPED = {  # the presets as they are, chosen by the second round
    "default": Candidate((CHOSEN,)),
    "best": Candidate(("norms", "more parts", "code", "worst"), "mean e-value"),
    "cheap": Candidate(("loss", "parts", "ratio"), "mean e-value"),
}
DEFAULT = SHIPPED["default"]
FORMER = Candidate(("norms",))
PAPER = Candidate(("paper",))
