"""Distributions over the 256 levels of a pixel: a logistic, and a Gaussian.

The logistic is the likelihood of Improving Variational Inference with Inverse Autoregressive Flow
(Kingma et al., 2016, arXiv:1606.04934); the Gaussian is that of Denoising Diffusion Probabilistic
Models (Ho et al., 2020, arXiv:2006.11239), section 3.3.
"""

import math

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
    wide = (x - mean).double()
    inside = -wide.abs()  # by symmetry in the lower tail, where nothing cancels
    upto = torch.special.log_ndtr((inside + half) * inverse)
    below = torch.special.log_ndtr((inside - half) * inverse)
    log_p = upto + torch.log(-torch.expm1(below - upto))
    log_p = torch.where(x < half - 1, torch.special.log_ndtr((wide + half) * inverse), log_p)
    log_p = torch.where(x > 1 - half, torch.special.log_ndtr((half - wide) * inverse), log_p)
    return log_p.flatten(1).sum(1).to(x.dtype)


def unit_gaussian(x: Tensor, location: Tensor) -> Tensor:
    """Return the log probability, in nats, of levels x = k/255 under a unit Gaussian in 256 bins.

    The outer bins are open. In float64, since the difference loses three digits, and by symmetry
    in the lower tail; what is less likely than 1e-300, a location 37 away, counts as that. (A
    logarithm of each tail has no such end, and takes four times as long.)
    """
    wide = (x - location).double()
    inside = -wide.abs()
    first, last = x < HALF_LEVEL, x > 1 - HALF_LEVEL
    upto = torch.where(first, wide, torch.where(last, -wide, inside)) + HALF_LEVEL
    below = _tail(inside - HALF_LEVEL).where(~(first | last), 0)
    return (_tail(upto) - below).clamp_min(1e-300).log().to(x.dtype)


def _tail(z: Tensor) -> Tensor:
    """Return the mass of a unit Gaussian below z; torch.special.ndtr is 0 from z = -8 down."""
    return 0.5 * torch.erfc(z * -math.sqrt(0.5))
