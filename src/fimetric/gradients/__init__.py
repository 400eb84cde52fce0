"""Exact per-sample gradient norms, read off the autograd graph.

norms       the public class
engine      which plan reads a batch, whether it is checked, and what then
graph       the autograd graph of one batch, as numbered nodes
layout      which entries of a tensor belong to which sample
axes/       the layouts that follow from operations and shapes: one file per kind of operation
colouring   learning what is left of them by probes
probes      weights of the losses, and what of the answers can be read
formulas    layouts that are tried on a whole tensor
halving     the same in float16
plan        where each parameter is used
plans       the plans kept, and which of them serves a graph
kinds       what holds for a graph of any size, kept for later processes
machine     what the steps of the norms cost on this machine, kept likewise
cache       the files that outlive a process
reader      one backpropagation that collects the contributions
subgraphs   parameter-only operations below the taps
squares     squared norms of ordinary gradients, one backward pass per sample
columns     the table, filled column by column
sums        gradients accumulated over several graphs
positions   what each position adds to a squared norm
projection  random projections of whole gradients
rules/      contribution of one operation: one file per family
contributions/  dense or in factors, and their norms
routing     operations that move samples by data
writing     where in-place operations on views have written
hooks       hooks that change gradients
checkpoints checkpointed regions, whose nodes compute anew what they have saved
checks      what comes in, and one sample against autograd
mixing      no samples mixed
precision   whether products of float32 keep their bits
reference   the plain loop, oracle of all tests
"""

from fimetric.gradients.contributions import Contribution, Dense, Factors
from fimetric.gradients.mixing import MixedSamplesError
from fimetric.gradients.norms import GradientNorms

__all__ = ["Contribution", "Dense", "Factors", "GradientNorms", "MixedSamplesError"]
