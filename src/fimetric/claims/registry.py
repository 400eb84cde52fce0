"""The claims by name, in the order of the page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fimetric.claims.chi_square import chi_square
from fimetric.claims.correlation import correlation
from fimetric.claims.finding import Finding
from fimetric.claims.invariance import invariance
from fimetric.claims.matrix import matrix
from fimetric.claims.metric import metric
from fimetric.claims.norms import norms
from fimetric.claims.paradox import paradox
from fimetric.claims.score import score
from fimetric.claims.study import Study
from fimetric.claims.timesteps import timesteps

Claim = Callable[[Study, Path], Finding | None]

CLAIMS: dict[str, Claim] = {
    "score": score,
    "matrix": matrix,
    "metric": metric,
    "norms": norms,
    "chi-square": chi_square,
    "correlation": correlation,
    "invariance": invariance,
    "paradox": paradox,
    "timesteps": timesteps,
}
"""Name -> (study, folder for pictures) -> finding, or None where the claim is not about such a
model."""


def select(names: Sequence[str] | None = None) -> dict[str, Claim]:
    """Return some claims by name, or all.

    Raises:
        ValueError: for an unknown name, listing those there are.
    """
    for name in names or ():
        if name not in CLAIMS:
            raise ValueError(f"no claim {name!r}; there are {', '.join(CLAIMS)}")
    return {name: CLAIMS[name] for name in names or CLAIMS}
