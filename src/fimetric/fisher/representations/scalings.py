"""Maps of each value by itself: affine ones and the logit."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fimetric.fisher.representations.base import Changed, Representation, per_channel, within


class Logit(Representation):
    """Creates y = logit(a + (1 - 2a) x), which brings [0, 1] to the whole line.

    Arguments:
        margin: a, in (0, 1/2).

    References:
        Density Estimation using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017, arXiv 1605.08803)
    """

    name = "logit"
    per_pixel = True

    def __init__(self, margin: float = 1e-6) -> None:
        super().__init__()
        if not 0 < margin < 0.5:
            raise ValueError(f"margin must lie in (0, 0.5), not {margin}")
        self.margin = margin

    def forward(self, x: Tensor, untouched: Tensor | None = None) -> Changed:
        """Return y and log |det| of x in [0, 1], or a / (1 - 2a) beyond."""
        a = self.margin
        edge = a / (1 - 2 * a)
        within(x, -edge, 1 + edge, self.name)
        z = a + (1 - 2 * a) * x
        log_det = math.log(1 - 2 * a) - z.log() - torch.log1p(-z)
        return Changed(torch.logit(z), log_det.flatten(1).sum(1))

    def inverse(self, y: Tensor, untouched: Tensor | None = None) -> Tensor:
        """Return x of y."""
        return (torch.sigmoid(y) - self.margin) / (1 - 2 * self.margin)

    def extra_repr(self) -> str:
        """Return the margin."""
        return f"margin={self.margin:g}"


class ChannelAffine(Representation):
    """Creates y_c = scale_c x_c + shift_c in each channel c.

    Arguments:
        scale: a number for each of C channels, none of them 0; or one for all.
        shift: likewise.
    """

    name = "affine per channel"
    per_pixel = True
    scale: Tensor
    shift: Tensor

    def __init__(
        self, scale: float | Sequence[float], shift: float | Sequence[float] = 0.0
    ) -> None:
        super().__init__()
        for name, values in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, torch.atleast_1d(torch.tensor(values, dtype=torch.float64)))
        if not (self.scale.isfinite() & (self.scale != 0)).all():
            raise ValueError(f"scale must be finite and nowhere 0, or nothing inverts it: {scale}")

    def forward(self, x: Tensor, untouched: Tensor | None = None) -> Changed:
        """Return y and log |det|."""
        scale, shift = per_channel(self.scale, x), per_channel(self.shift, x)
        return Changed(scale * x + shift, _volume(scale.abs().log(), x))

    def inverse(self, y: Tensor, untouched: Tensor | None = None) -> Tensor:
        """Return x of y."""
        return (y - per_channel(self.shift, y)) / per_channel(self.scale, y)

    def extra_repr(self) -> str:
        """Return scales and shifts."""
        return f"scale={self.scale.tolist()}, shift={self.shift.tolist()}"


class TrainableAffine(Representation):
    """Creates y_c = exp(l_c) x_c with log-scales l that are trained along with the model.

    This is the negative control: log |det| = sum_c l_c per pixel has a gradient.

    Arguments:
        channels: C.
        log_scale: start value of all l_c.
    """

    name = "affine with trainable scale"
    per_pixel = True

    def __init__(self, channels: int, log_scale: float = 0.1) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((channels,), log_scale, dtype=torch.float64))

    def forward(self, x: Tensor, untouched: Tensor | None = None) -> Changed:
        """Return y and log |det|."""
        log_scale = per_channel(self.log_scale, x)
        return Changed(log_scale.exp() * x, _volume(log_scale, x))

    def inverse(self, y: Tensor, untouched: Tensor | None = None) -> Tensor:
        """Return x of y."""
        return y * torch.exp(-per_channel(self.log_scale, y))


def _volume(log_scale: Tensor, x: Tensor) -> Tensor:
    """Return log |det| (N,) of a scaling of x (N, C, *) by channel."""
    return log_scale.expand(x.shape[1:]).sum().expand(len(x))
