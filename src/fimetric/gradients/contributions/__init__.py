"""What each sample adds to the gradient of one parameter, dense or in factors.

base     what all kinds have in common
dense    written out, or a sum that is still to be carried out
factors  sums of outer products, and the rows of an embedding
windows  convolutions: inputs, output gradients and which of them meet
patches  their norms, by whichever form is cheapest
pixels   one form: by the Gram matrix of the pixels
blocks   several matrices side by side: groups of channels, batched products
total    the sum of several contributions to one tensor
gram     norms by Gram matrices, where these are smaller
costs    which form is cheaper
"""

from fimetric.gradients.contributions.base import Contribution, squared_norms, widened
from fimetric.gradients.contributions.blocks import Blocks, Stack
from fimetric.gradients.contributions.dense import Dense, Sum
from fimetric.gradients.contributions.factors import Factors, Rows
from fimetric.gradients.contributions.patches import Patches
from fimetric.gradients.contributions.total import add
from fimetric.gradients.contributions.windows import Geometry

__all__ = [
    "Blocks",
    "Contribution",
    "Dense",
    "Factors",
    "Geometry",
    "Patches",
    "Rows",
    "Stack",
    "Sum",
    "add",
    "squared_norms",
    "widened",
]
