"""Which axis of an operation's inputs holds the samples, where its output's is known.

A rule is a statement about gradients: it follows from what the operation computes, its saved
attributes and the shapes, for every batch size and length, and no number is looked at. What rules
do not explain is learnt by probes (``colouring``).

base        what a rule is given, and what most rules come down to
views       entries that move, are left out or come together
pointwise   elementwise operations
products    matrix products, convolutions, attention
reductions  sums and norms over some axes, normalisation within some
lookups     data choose entries along other axes
indices     data choose entries along the samples' axis
carry       the rules taken through a graph
"""

from fimetric.gradients.axes.carry import Carried, carry

__all__ = ["Carried", "carry"]
