"""Sums, norms and their like over some axes, and normalisation within some."""

from fimetric.gradients.axes.base import Found, Rule, Shared, Use, kept, leading, within


def reduction(use: Use) -> Found:
    """Each entry of the output comes from a range of the input along the reduced axes."""
    gone = use.axes() if hasattr(use.node, "_saved_dim") else tuple(range(len(use.shape)))
    if len(use.output) == len(use.shape):  # keepdim
        return kept(use, gone)
    others = [dim for dim in range(len(use.shape)) if dim not in gone]
    return use.at(others[use.dim]) if len(others) == len(use.output) else None


def layer_norm(use: Use) -> Found:
    """Input, weight, bias: normalised over the last axes."""
    if use.dim >= len(use.output) - len(use.node._saved_normalized_shape):
        return None
    return use.layout if use.input == 0 else Shared.CONTRACTED


def group_norm(use: Use) -> Found:
    """Input (N, C, *size), weight, bias."""
    if use.dim != 0:
        return None
    return use.layout if use.input == 0 else Shared.CONTRACTED


def batch_norm(use: Use) -> Found:
    """Input (N, C, *size), weight, bias; statistics of the batch mix its samples."""
    if use.dim == 1:
        return None
    mixes = use.input > 0 or use.node._saved_training
    return Shared.SUMMED if mixes else use.layout


def negative_log_likelihood(use: Use) -> Found:
    """Log probabilities (N, C, *size), of which one is chosen."""
    if use.input > 0 or len(use.output) != len(use.shape) - 1:
        return None
    return use.at(use.dim + (use.dim > 0))


REDUCTIONS: dict[str, Rule] = {
    **dict.fromkeys(("CudnnBatchNorm", "MiopenBatchNorm", "NativeBatchNorm"), batch_norm),
    "NativeGroupNorm": group_norm,
    "NativeLayerNorm": layer_norm,
    "FusedRmsNorm": layer_norm,
    "NllLoss": negative_log_likelihood,
    "NllLoss2D": negative_log_likelihood,
    **dict.fromkeys(
        (
            *("Amax", "Amin", "LinalgVectorNorm", "Logsumexp", "Max", "Mean", "Min", "Norm"),
            *("Prod", "Std", "StdMean", "Sum", "Var", "VarMean"),
        ),
        reduction,
    ),
    **dict.fromkeys(
        (
            *("Cumprod", "Cumsum", "FftC2C", "FftR2C", "FftC2R", "Glu", "LogSoftmax"),
            *("Logcumsumexp", "Softmax", "Sort", "Topk"),
        ),
        within(),
    ),
    "Flip": within("dims"),
    "Roll": within("dims"),
    **dict.fromkeys(("AdaptiveAvgPool2D", "AvgPool2D", "MaxPool2DWithIndices"), leading(2)),
    **dict.fromkeys(("AdaptiveAvgPool3D", "AvgPool3D", "MaxPool3DWithIndices"), leading(3)),
    **dict.fromkeys(("ReflectionPad1D", "ReplicationPad1D"), leading(1)),
    **dict.fromkeys(("ReflectionPad2D", "ReplicationPad2D"), leading(2)),
    **dict.fromkeys(("ReflectionPad3D", "ReplicationPad3D"), leading(3)),
    **dict.fromkeys(("UpsampleNearest1D", "UpsampleLinear1D"), leading(1)),
    **dict.fromkeys(("UpsampleNearest2D", "UpsampleBilinear2D", "UpsampleBicubic2D"), leading(2)),
    **dict.fromkeys(("UpsampleNearest3D", "UpsampleTrilinear3D"), leading(3)),
    **dict.fromkeys(("PixelShuffle", "PixelUnshuffle"), leading(3)),
}
