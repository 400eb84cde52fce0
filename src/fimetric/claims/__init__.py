"""The method's claims, each measured on a model: one module a claim, one finding each.

    study (model and data) -> CLAIMS[name](study, folder) -> Finding -> page

The mathematics is in ``fimetric.fisher``; here it is run, drawn and judged. Each module states, at
its top, by which criterion its claim holds, holds in part, or does not.
"""

from collections.abc import Callable
from pathlib import Path

from fimetric.claims.finding import Finding, Picture, Table
from fimetric.claims.study import Drawn, Study

Claim = Callable[[Study, Path], Finding | None]

CLAIMS: dict[str, Claim] = {}
"""Name -> (study, folder for pictures) -> finding, or None where the claim is not about such a
model; in the order of the page."""

__all__ = ["CLAIMS", "Claim", "Drawn", "Finding", "Picture", "Study", "Table"]
