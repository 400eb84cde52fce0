"""Elementwise operations: an entry of the output depends on one of each input."""

from fimetric.gradients.axes.base import Rule, broadcast, repeated

NAMES = (
    *("Abs", "Acos", "Acosh", "Addcdiv", "Addcmul", "Asin", "Asinh", "Atan", "Atan2"),
    *("Atanh", "BinaryCrossEntropy", "BinaryCrossEntropyWithLogits", "Celu", "Clamp", "ClampMax"),
    *("ClampMin", "Copysign", "Cos", "Cosh", "Digamma", "Div", "Elu", "EluBackward", "Erf"),
    *("Erfc", "Erfinv", "Exp", "Exp2", "Expm1", "Fmod", "Gelu", "Hardsigmoid", "Hardswish"),
    *("Hardtanh", "HuberLoss", "Hypot", "I0", "Imag", "KlDiv", "LeakyRelu", "Lerp", "Lgamma"),
    *("Log", "Log10", "Log1P", "Log2", "LogSigmoid", "Logaddexp", "Logit", "MaskedFill"),
    *("Maximum", "Minimum", "Mish", "MseLoss", "Mul", "Neg", "Polygamma", "Pow", "PreluKernel"),
    *("Real", "Reciprocal", "Relu", "Remainder", "Rsqrt", "Sgn", "Sigmoid"),
    *("SigmoidBackward", "Silu", "Sin", "Sinc", "Sinh", "SmoothL1Loss", "Softplus"),
    *("Softshrink", "Sqrt", "Tan", "Tanh", "TanhBackward", "Threshold", "Where"),
    *("Xlogy", "Conj", "ConjPhysical", "ResolveConj"),
)
SUMS = ("Add", "Rsub", "Sub")
POINTWISE: dict[str, Rule] = {
    **dict.fromkeys(NAMES, broadcast),
    **dict.fromkeys(SUMS, repeated),
}
