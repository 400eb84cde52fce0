"""The method's claims, each measured on a model: one module a claim, one finding each.

    study (model and data) -> CLAIMS[name](study, folder) -> Finding -> page

The mathematics is in ``fimetric.fisher``; here it is run, drawn and judged. Each module states, at
its top, by which criterion its claim holds, holds in part, or does not.
"""

from fimetric.claims.analyse import analyse, kept
from fimetric.claims.draws import draw
from fimetric.claims.finding import Finding, Picture, Table
from fimetric.claims.opening import open_study
from fimetric.claims.registry import CLAIMS, Claim, select
from fimetric.claims.study import Drawn, Study

__all__ = [
    "CLAIMS",
    "Claim",
    "Drawn",
    "Finding",
    "Picture",
    "Study",
    "Table",
    "analyse",
    "draw",
    "kept",
    "open_study",
    "select",
]
