"""The Fisher information matrix and metric, and what the method assumes of them.

    s(x) = d log p(x) / d theta,      F = E[s s^T],      metric: s^T F^-1 s

score        is the gradient a score: is its mean zero?
matrix       windows of F; regression: the F of a denoising model (Gauss-Newton)
metrics/         the metric at four levels of F, each a table for a density
families     which family the norms of each layer follow; laws: the families
correlation  of the layers' log norms; rank: effective degrees of freedom of each
invariance   a change of representation; representations/: the changes
paradox      the likelihood of foreign images, and of own ones made simpler
timesteps    a diffusion model's norms over time and noise draws
double       a computation in float64 on a module that stays as it is
jacobians    log-determinants by automatic differentiation: the oracle of representations
laws         the families that squared norms f of a layer may follow
rank         effective degrees of freedom of a layer's squared norm
rankings     do several scores rank the same samples alike?
reexpressed  the objective of data in another representation, made from that of the data
regression   the Fisher matrix that a denoising model does have
stream       losses of a data set, batch by batch, each with its graph
"""

from fimetric.fisher.correlation import Correlation, correlate
from fimetric.fisher.families import FamilyFits, fit_families
from fimetric.fisher.invariance import InvarianceReport, invariance_report
from fimetric.fisher.matrix import (
    Entries,
    choose_weights,
    gradient_entries,
    normalised,
    off_diagonal,
)
from fimetric.fisher.metrics import Diagonal, FisherMetric, Kronecker, LowRank, ScaledIdentity
from fimetric.fisher.paradox import Paradox, likelihood_paradox
from fimetric.fisher.rank import effective_rank
from fimetric.fisher.regression import DenoisingRegression, Noised, residual_deviation
from fimetric.fisher.score import ScoreTest, score_test

__all__ = [
    "Correlation",
    "DenoisingRegression",
    "Diagonal",
    "Entries",
    "FamilyFits",
    "FisherMetric",
    "InvarianceReport",
    "Kronecker",
    "LowRank",
    "Noised",
    "Paradox",
    "ScaledIdentity",
    "ScoreTest",
    "choose_weights",
    "correlate",
    "effective_rank",
    "fit_families",
    "gradient_entries",
    "invariance_report",
    "likelihood_paradox",
    "normalised",
    "off_diagonal",
    "residual_deviation",
    "score_test",
]
