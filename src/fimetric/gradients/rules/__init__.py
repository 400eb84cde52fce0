"""Fast rules: operation -> per-sample contribution to one of its inputs.

A rule may return None where it does not apply; the node is then called sample by sample. So a rule
is never needed for an exact result. To add one, write the function and name it here.

batched        vector-Jacobian products of all samples at once, for common operations
bilinear       bilinear layers: the output gradient times x z^T
called         the exact answer where there is no rule: call the node with one sample's gradient
convolution    convolutions of one to three dimensions, dilated, strided, grouped or transposed
distances      distances between rows, as to the entries of a codebook
embedding      embeddings: each position's gradient goes to the row that it looked up
linear         matrix products: each row's outer product goes to its sample
normalisation  normalisation layers: y = weight * xhat + bias, xhat the normalised input
pointwise      elementwise operations
recurrent      fused layers of LSTMs
tapped         what a rule is given, and the reduction that most rules end in
"""

from collections.abc import Callable

from fimetric.gradients.contributions import Contribution
from fimetric.gradients.rules.bilinear import bilinear
from fimetric.gradients.rules.called import called
from fimetric.gradients.rules.convolution import convolution
from fimetric.gradients.rules.distances import cdist
from fimetric.gradients.rules.embedding import embedding, embedding_bag
from fimetric.gradients.rules.linear import addmm, bmm, grouped_mm, mm
from fimetric.gradients.rules.normalisation import batch_norm, group_norm, layer_norm, rms_norm
from fimetric.gradients.rules.pointwise import add, div, expand, mul, prelu, sub, where
from fimetric.gradients.rules.recurrent import lstm_layer
from fimetric.gradients.rules.tapped import Tapped

Rule = Callable[[Tapped], Contribution | None]

RULES: dict[str, Rule] = {
    "AddBackward0": add,
    "AddmmBackward0": addmm,
    "BmmBackward0": bmm,
    "CdistBackward0": cdist,
    "ConvolutionBackward0": convolution,
    "CudnnBatchNormBackward0": batch_norm,
    "DivBackward0": div,
    "EmbeddingBackward0": embedding,
    "EmbeddingBagBackward0": embedding_bag,
    "EuclideanDistBackward0": cdist,
    "ExpandBackward0": expand,
    "FusedRmsNormBackward0": rms_norm,
    "GroupedMmBackward0": grouped_mm,
    "MiopenBatchNormBackward0": batch_norm,
    "MkldnnRnnLayerBackward0": lstm_layer,
    "MmBackward0": mm,
    "MulBackward0": mul,
    "NativeBatchNormBackward0": batch_norm,
    "NativeGroupNormBackward0": group_norm,
    "NativeLayerNormBackward0": layer_norm,
    "PreluKernelBackward0": prelu,
    "SubBackward0": sub,
    "TrilinearBackward0": bilinear,
    "WhereBackward0": where,
}

__all__ = ["RULES", "Rule", "Tapped", "called"]
