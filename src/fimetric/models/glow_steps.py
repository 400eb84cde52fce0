"""The layers of a Glow: normalisation, 1x1 convolution, coupling, and the priors between levels.

Those of a step map ``forward(x) -> (y, log_det)`` with log_det (N,) in nats, and back by
``inverse(y)``; nothing changes in a forward pass, the data-dependent start is ``initialise(x)``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOWEST_SCALE = 0.05  # of a coupling: its inverse amplifies rounding at most twentyfold
LOG_SCALE_REACH = 6.0  # log standard deviations of the priors are confined to (-6, 6)


class ActNorm(nn.Module):
    """Creates a learned affine map per channel, y = (x + bias) exp(log_scale)."""

    def __init__(self, channels: int) -> None:
        """Make the parameters."""
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set the parameters such that x (N, C, H, W) comes out with mean 0 and deviation 1."""
        self.bias.copy_(-x.mean((0, 2, 3))[:, None, None])
        self.log_scale.copy_(-x.std((0, 2, 3)).clamp_min(1e-3).log()[:, None, None])

    def apply_to(self, x: Tensor) -> Tensor:
        """Return y alone, for use inside a network that need not be invertible."""
        return (x + self.bias) * torch.exp(self.log_scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (N, C, H, W) and log |det| (N,)."""
        log_det = self.log_scale.sum() * (x.shape[2] * x.shape[3])
        return self.apply_to(x), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return x of y."""
        return y * torch.exp(-self.log_scale) - self.bias


class InvertibleConv(nn.Module):
    """Creates a 1x1 convolution W = P L (U + diag(sign exp(log_s))), P and sign fixed."""

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        """Make the parameters."""
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
        P, L, U = torch.linalg.lu(rotation)
        s = U.diagonal()
        self.register_buffer("permutation", P.float())
        self.register_buffer("sign", s.sign().float())
        self.lower = nn.Parameter(L.tril(-1).float())
        self.upper = nn.Parameter(U.triu(1).float())
        self.log_s = nn.Parameter(s.abs().log().float())

    def _factors(self) -> tuple[Tensor, Tensor]:
        one = torch.eye(len(self.sign), dtype=self.lower.dtype, device=self.lower.device)
        L = self.lower.tril(-1) + one
        U = self.upper.triu(1) + torch.diag(self.sign * torch.exp(self.log_s))
        return L, U

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return W x at every position and log |det| (N,)."""
        L, U = self._factors()
        W = self.permutation @ L @ U
        log_det = self.log_s.sum() * (x.shape[2] * x.shape[3])
        return F.conv2d(x, W[:, :, None, None]), log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return x of y by two triangular solves."""
        L, U = self._factors()
        v = self.permutation.T @ y.flatten(2)  # (N, C, HW)
        v = torch.linalg.solve_triangular(L, v, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(U, v, upper=True).reshape(y.shape)


class ZeroConv(nn.Module):
    """Creates a 3x3 convolution that starts at zero, times a learned exp(3 log_scale)."""

    def __init__(self, a: int, b: int) -> None:
        """Make the parameters."""
        super().__init__()
        self.conv = nn.Conv2d(a, b, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        self.log_scale = nn.Parameter(torch.zeros(b, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, b, H, W) of x (N, a, H, W)."""
        return self.conv(x) * torch.exp(3 * self.log_scale)


class Coupling(nn.Module):
    """Creates an affine coupling: half of the channels sets scale and shift of the others."""

    def __init__(self, channels: int, hidden: int) -> None:
        """Make the parameters."""
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(half, hidden, 3, padding=1, bias=False)
        self.norm1 = ActNorm(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 1, bias=False)
        self.norm2 = ActNorm(hidden)
        self.conv3 = ZeroConv(hidden, 2 * (channels - half))
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=0.05)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set the two normalisations inside from x (N, C, H, W)."""
        hidden = self.conv1(x.chunk(2, dim=1)[0])
        self.norm1.initialise(hidden)
        hidden = self.conv2(F.relu(self.norm1.apply_to(hidden)))
        self.norm2.initialise(hidden)

    def _scale_and_shift(self, a: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.norm1.apply_to(self.conv1(a)))
        hidden = F.relu(self.norm2.apply_to(self.conv2(hidden)))
        shift, raw = self.conv3(hidden).chunk(2, dim=1)
        return LOWEST_SCALE + (1 - LOWEST_SCALE) * torch.sigmoid(raw + 2), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (N, C, H, W) and log |det| (N,)."""
        a, b = x.chunk(2, dim=1)
        scale, shift = self._scale_and_shift(a)
        return torch.cat([a, (b + shift) * scale], 1), scale.log().flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x of y."""
        a, b = y.chunk(2, dim=1)
        scale, shift = self._scale_and_shift(a)
        return torch.cat([a, b / scale - shift], 1)


class Split(nn.Module):
    """Creates the Gaussian prior of one half of the channels, given the other half."""

    def __init__(self, channels: int) -> None:
        """Make the parameters."""
        super().__init__()
        half = channels // 2
        self.prior = ZeroConv(half, 2 * (channels - half))

    def moments(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of the half split off."""
        mean, log_std = self.prior(kept).chunk(2, dim=1)
        return mean, bounded(log_std)


def bounded(log_std: Tensor) -> Tensor:
    """Return log_std confined smoothly, so that no density can become infinite."""
    return LOG_SCALE_REACH * torch.tanh(log_std / LOG_SCALE_REACH)
