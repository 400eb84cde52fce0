"""The method's claims, each measured on a model: one module a claim, one finding each.

    study (model and data) -> CLAIMS[name](study, folder) -> Finding -> page

The mathematics is in ``fimetric.fisher``; here it is run, drawn and judged. Each module states, at
its top, by which criterion its claim holds, holds in part, or does not.

analyse       all claims on one model, one after another; what is done is kept
aurocs        how well three densities tell foreign sets from own data
chi_square    are layer-wise squared norms about scaled chi-square distributed?
correlation   are layer-wise log norms only weakly correlated?
draws         samples of a reference model, drawn part by part and kept
finding       what the measurement of a claim comes to: a verdict, numbers, tables and pictures
invariance    a change of representation of the data changes the likelihood and not the gradient
matrix        does the diagonal of the Fisher information matrix dominate?
metric        whether the size of the gradient stands for the Fisher information metric
metric_parts  which samples a metric and a density are fitted on, and which are scored
norms         are the gradients of foreign data larger, and does a simple density tell them?
opening       a study of what the command line names
page          findings as a page: claim, verdict, numbers, pictures
paradox       are foreign data more likely than the model's own?
registry      the claims by name, in the order of the page
retraining    do models retrained on another representation rank samples alike?
rows          what of a table claims on layers are measured on
score         is the gradient a score?
study         a model, its data and its settings, that claims are measured on
timesteps     at which timesteps do a diffusion model's norms tell most?
ways          the same data in several representations, a model trained on each, and its scores
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
