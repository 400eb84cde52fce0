"""Pictures and tables of results.

pictures   pictures of likelihoods, scores and decisions
shrinking  pictures in a third of the bytes that matplotlib takes for them
tables     tables of results, on screen, as Markdown and as CSV
"""

from fimetric.report.pictures import (
    likelihood_histograms,
    overview,
    roc_curves,
    sample_grid,
    score_histograms,
)
from fimetric.report.tables import Row, markdown, show, write_csv

__all__ = [
    "Row",
    "likelihood_histograms",
    "markdown",
    "overview",
    "roc_curves",
    "sample_grid",
    "score_histograms",
    "show",
    "write_csv",
]
