"""The Fisher metric s^T F^-1 s of a gradient s, at four levels of detail of F.

    ScaledIdentity   F_j = c_j I for each tensor j: the layer-wise norms
    Diagonal         F_aa for each weight a
    Kronecker        F_j = A kron B for each matrix, or a diagonal in the eigenbasis of that
    LowRank          some principal directions over all parameters, the rest as ScaledIdentity

Each is fitted on reference samples and then stands in for ``GradientNorms``: its columns sum to the
metric, and their logarithms are ``Features`` that any density takes.

base       what all levels have in common
reference  reference samples, read as often as wanted
blocks     blocks of F, one to a tensor, and norms in their metric
moments    second moments of gradients and of their factors
damping    how much of a simpler F to mix in, by held-out likelihood
gram       inner products of all reference gradients
diagonal   elementwise whitening
identity   the coarsest level: what the layer-wise norms are an approximation of
kronecker  whitening by Kronecker factors, or in their eigenbasis
low_rank   whitening by principal directions over all parameters
"""

from fimetric.fisher.metrics.base import FisherMetric
from fimetric.fisher.metrics.diagonal import Diagonal
from fimetric.fisher.metrics.identity import ScaledIdentity
from fimetric.fisher.metrics.kronecker import Kronecker
from fimetric.fisher.metrics.low_rank import LowRank

__all__ = ["Diagonal", "FisherMetric", "Kronecker", "LowRank", "ScaledIdentity"]
