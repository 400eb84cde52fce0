"""Colour spaces, pixel by pixel."""

import torch
from torch import Tensor

from fimetric.fisher.representations.base import Changed, Representation, per_channel, within


class YCbCr(Representation):
    """Creates luminance and two differences of colour of RGB, all in [0, 1].

        Y = .299 R + .587 G + .114 B,   Cb = 1/2 + (B - Y) / 1.772,   Cr = 1/2 + (R - Y) / 1.402

    References:
        Recommendation ITU-R BT.601, over the full range, as in JPEG (ITU-T T.871).
    """

    name = "RGB to YCbCr"
    per_pixel = True
    matrix: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
        red, _, blue = torch.eye(3, dtype=torch.float64)
        rows = [luma, (blue - luma) / 1.772, (red - luma) / 1.402]
        self.register_buffer("matrix", torch.stack(rows))
        self.register_buffer("offset", torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64))

    def forward(self, x: Tensor, untouched: Tensor | None = None) -> Changed:
        """Return y and log |det|, the same for all images of one size."""
        _colour(x, self.name)
        y = torch.einsum("ij,njhw->nihw", self.matrix.to(x), x) + per_channel(self.offset, x)
        log_det = torch.linalg.slogdet(self.matrix)[1].to(x) * (x.shape[2] * x.shape[3])
        return Changed(y, log_det.expand(len(x)))

    def inverse(self, y: Tensor, untouched: Tensor | None = None) -> Tensor:
        """Return x of y."""
        _colour(y, self.name)
        back = torch.linalg.inv(self.matrix).to(y)
        return torch.einsum("ij,njhw->nihw", back, y - per_channel(self.offset, y))


class HSV(Representation):
    """Creates hue, saturation and value of RGB: h in [0, 1), s and v in [0, 1].

    With M and m the largest and the smallest of R, G, B at a pixel: v = M, s = (M - m) / M, h by
    which of the three is largest, and |det| = 1 / (6 M (M - m)). The map is singular where M = m;
    pixels with M - m < ``least`` are left as they are, with determinant 1, and marked as untouched.

    Arguments:
        least: M - m below which a pixel is left as it is. With 0 it is one with M = m exactly.

    References:
        Color Gamut Transform Pairs (Smith, 1978, SIGGRAPH 12, 12-19)
    """

    name = "RGB to HSV"
    per_pixel = True

    def __init__(self, least: float = 1 / 256) -> None:
        super().__init__()
        if not 0 <= least < 1:
            raise ValueError(f"least must lie in [0, 1), not {least}")
        self.least = least

    def forward(self, x: Tensor, untouched: Tensor | None = None) -> Changed:
        """Return y and log |det| of x in [0, 1], and which pixels are left as they are."""
        _colour(x, self.name)
        within(x, 0.0, 1.0, self.name)
        # By index: at two equal colours amax would halve the derivatives, which is no side's.
        top, which = x.max(1)  # M, (N, H, W)
        chroma = top - x.min(1).values  # M - m
        if untouched is None:
            untouched = (chroma < self.least) | (chroma == 0)
        one = torch.ones_like(top)  # in place of what must not be divided by
        value, chroma = torch.where(untouched, one, top), torch.where(untouched, one, chroma)
        y = torch.stack([_hue(x, which, chroma), chroma / value, value], 1)
        log_det = -(6 * value * chroma).log()
        log_det = torch.where(untouched, torch.zeros_like(log_det), log_det)
        y = torch.where(untouched[:, None], x, y)
        return Changed(y, log_det.flatten(1).sum(1), untouched)

    def inverse(self, y: Tensor, untouched: Tensor | None = None) -> Tensor:
        """Return x of y: each colour is v - v s k, k in [0, 1] by its distance in hue."""
        _colour(y, self.name)
        hue, saturation, value = (y[:, c : c + 1] for c in range(3))
        places = torch.tensor([5.0, 3.0, 1.0]).to(y).view(3, 1, 1)
        k = (places + 6 * hue) % 6
        x = value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1)
        return x if untouched is None else torch.where(untouched[:, None], y, x)

    def extra_repr(self) -> str:
        """Return the bound of what is singular."""
        return f"least={self.least:g}"


def _hue(x: Tensor, which: Tensor, chroma: Tensor) -> Tensor:
    """Return the hue (N, H, W) in [0, 1), given which colour is largest at each pixel."""
    r, g, b = x.unbind(1)
    sides = torch.stack([(g - b) / chroma, 2 + (b - r) / chroma, 4 + (r - g) / chroma])
    hue = sides.gather(0, which[None])[0] / 6
    hue = torch.where(hue < 0, hue + 1, hue)
    return torch.where(hue >= 1, hue - 1, hue)  # -1e-17 + 1 is rounded to 1


def _colour(x: Tensor, name: str) -> None:
    if x.dim() != 4 or x.shape[1] != 3:
        raise ValueError(
            f"{name} takes colour images (N, 3, H, W), not {tuple(x.shape)}; grey data have no "
            "such representation"
        )
