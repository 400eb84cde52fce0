"""The claims by name, in the order of the page."""

from collections.abc import Callable
from pathlib import Path

from fimetric.claims.finding import Finding
from fimetric.claims.matrix import matrix
from fimetric.claims.paradox import paradox
from fimetric.claims.score import score
from fimetric.claims.study import Study
from fimetric.claims.timesteps import timesteps

Claim = Callable[[Study, Path], Finding | None]

CLAIMS: dict[str, Claim] = {
    "score": score,
    "matrix": matrix,
    "paradox": paradox,
    "timesteps": timesteps,
}
"""Name -> (study, folder for pictures) -> finding, or None where the claim is not about such a
model."""
