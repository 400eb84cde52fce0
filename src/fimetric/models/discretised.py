"""Distributions over the 256 levels of a pixel: a logistic, and a Gaussian.

The logistic is the likelihood of Improving Variational Inference with Inverse Autoregressive Flow
(Kingma et al., 2016, arXiv:1606.04934); the Gaussian is that of Denoising Diffusion Probabilistic
Models (Ho et al., 2020, arXiv:2006.11239), section 3.3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

HALF_LEVEL = 0.5 / 255  # half the distance between two neighbouring levels of a pixel
SCALE_MIDDLE, SCALE_REACH = -2.5, 4.5  # log scales are confined to (-7, 2)


def bounded_log_scale(free: Tensor) -> Tensor:
    """Return log scales confined smoothly, so that no bin is too narrow or too wide for float32."""
    return SCALE_MIDDLE + SCALE_REACH * torch.tanh((free - SCALE_MIDDLE) / SCALE_REACH)


def discretised_logistic(x: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log probability, in nats, of levels x = k/255 under a logistic in 256 bins.

    The lowest and the highest bin are open, so the probabilities of the levels sum to one. With
    a > b the bounds of a bin in units of the scale,
    log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(-(a - b))),
    which neither cancels nor overflows. All tensors of one shape, or broadcast.
    """
    inverse = torch.exp(-log_scale)
    upper = (x - location + HALF_LEVEL) * inverse
    lower = (x - location - HALF_LEVEL) * inverse
    width = 2 * HALF_LEVEL * inverse
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    inside = torch.where(x < HALF_LEVEL, F.logsigmoid(upper), inside)
    return torch.where(x > 1 - HALF_LEVEL, F.logsigmoid(-lower), inside)


def discretised_gaussian(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the log probability (N,), in nats, of levels x = 2k/255 - 1 under Gaussians in bins.

    The lowest and the highest bin are open, so the probabilities of the levels sum to one.

    Arguments:
        x: Images (N, ...) in [-1, 1].
        mean: Of every pixel, (N, ...).
        std: A scalar, the same for all.
    """
    half, inverse = 2 * HALF_LEVEL, 1 / std.double()
    wide = (x - mean).double()  # float64, and by symmetry in the lower tail: no cancellation
    inside = -wide.abs()
    upper = torch.special.ndtr((inside + half) * inverse)
    lower = torch.special.ndtr((inside - half) * inverse)
    log_p = (upper - lower).clamp_min(1e-300).log()
    log_p = torch.where(x < half - 1, torch.special.log_ndtr((wide + half) * inverse), log_p)
    log_p = torch.where(x > 1 - half, torch.special.log_ndtr((half - wide) * inverse), log_p)
    return log_p.flatten(1).sum(1).to(x.dtype)
