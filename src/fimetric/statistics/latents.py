"""Whether a flow's latents of one sample look like independent standard normals, as they should."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives import NegativeLogLikelihood
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import require_transform

TINY = 1e-30  # a variance of zero has a logarithm, and 0/0 is 0
MARGINAL = (
    "mean",
    "log_variance",
    "skewness",
    "excess_kurtosis",
    "log_square",
    "kolmogorov_smirnov",
    "log_anderson_darling",
)
SITN = ("all/normality", "all/spectrum")


class LatentFit(Statistic):
    r"""Creates the goodness of fit of one sample's latents to the prior, level by level.

    The d latents of a level are pooled. ``mean``, ``log_variance``, ``skewness`` and
    ``excess_kurtosis`` are theirs, ``log_square`` is :math:`\log |z|^2 / d`, and
    ``kolmogorov_smirnov`` and ``log_anderson_darling`` are distances to N(0, 1), the latter the
    logarithm of

    .. math:: A^2 = -d - \tfrac1d \sum_i (2i - 1)
              [\log \Phi(z_{(i)}) + \log \Phi(-z_{(d + 1 - i)})] .

    ``horizontal`` and ``vertical`` correlate neighbours in a level (C, H, W). Of all levels in one
    row there are the two statistics of SITN: ``all/normality``, log A^2 after the row's own mean
    and deviation are taken off, and ``all/spectrum``, deviation over mean of the power spectrum.
    The score of that paper is ``SmallestPValue(columns=SITN, typicality=False)``.

    Arguments:
        objective: of a module with ``transform(x) -> (latents, log det)``, latents being a tensor
            (N, ...) or one per level. Dequantisation is the objective's.
        shapes: of one sample's latents, one per level; ``module.latent_shapes()`` if None.

    Raises:
        TypeError: for another objective, or a module without ``transform``.
        ValueError: where nobody tells the shapes, or a level has fewer than two latents.

    References:
        The Signal in the Noise: OOD Detection Through Goodness-of-Fit Testing in Factorised Latent
        Spaces (Bomatter, Geary and Gouk, 2026, arXiv 2605.22496)
        A test of goodness of fit (Anderson and Darling, 1954), JASA 49(268)
    """

    name = "latent-fit"
    objective: NegativeLogLikelihood

    def __init__(
        self,
        objective: NegativeLogLikelihood,
        shapes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__(objective)
        require_transform(objective, "LatentFit")
        told: Any = getattr(objective.module, "latent_shapes", None)
        if shapes is None and told is None:
            raise ValueError(
                f"{type(objective.module).__name__} has no latent_shapes(): pass LatentFit("
                "objective, shapes=[...]), the shape of one sample's latents on each level"
            )
        self.shapes = [tuple(shape) for shape in (told() if shapes is None else shapes)]
        if not self.shapes or min(math.prod(shape) for shape in self.shapes) < 2:
            raise ValueError(f"a level needs two latents or more; the shapes are {self.shapes}")

    @property
    def names(self) -> list[str]:
        """Names of the columns, ``level0/mean`` and so on."""
        columns = []
        for level, shape in enumerate(self.shapes):
            columns += [f"level{level}/{name}" for name in (*MARGINAL, *directions(shape))]
        return [*columns, *SITN]

    def settings(self) -> dict[str, Any]:
        """Return the shapes of the latents."""
        return {"shapes": self.shapes}

    def measure(self, x: Input) -> Tensor:
        """Return the statistics (N, K) of x (N, ...), in float64.

        Raises:
            ValueError: where the latents have other shapes than was said.
        """
        latents, _ = self.objective.latents(self.objective.prepared(x))
        found = [tuple(z.shape[1:]) for z in latents]
        if found != self.shapes:
            raise ValueError(f"the latents have the shapes {found}, not {self.shapes}")
        latents = [z.double() for z in latents]
        columns = []
        for z, shape in zip(latents, self.shapes, strict=True):
            columns += marginal(z.flatten(1)) + [
                neighbours(z, d) for d in directions(shape).values()
            ]
        row = torch.cat([z.flatten(1) for z in latents], 1)
        return torch.stack([*columns, normality(row), spectrum(row)], 1)


def directions(shape: Sequence[int]) -> dict[str, int]:
    """Return name -> axis of the directions in which a level (C, H, W) has neighbours."""
    if len(shape) != 3:
        return {}
    return {n: axis for n, axis in (("horizontal", 3), ("vertical", 2)) if shape[axis - 1] > 1}


def marginal(z: Tensor) -> list[Tensor]:
    """Return the statistics of ``MARGINAL``, each (N,), of pooled latents z (N, d)."""
    mean = z.mean(1)
    centred = z - mean[:, None]
    variance = centred.square().mean(1).clamp_min(TINY)
    third, fourth = (centred**3).mean(1), (centred**4).mean(1)
    return [
        mean,
        variance.log(),
        third / variance**1.5,
        fourth / variance**2 - 3,
        z.square().mean(1).clamp_min(TINY).log(),
        kolmogorov_smirnov(z),
        anderson_darling(z).log(),
    ]


def kolmogorov_smirnov(z: Tensor) -> Tensor:
    """Return the largest distance (N,) of the cdf of z (N, d) from that of N(0, 1)."""
    p, d = torch.special.ndtr(z.sort(1).values), z.shape[1]
    steps = torch.arange(d + 1, dtype=z.dtype, device=z.device) / d
    return torch.maximum(steps[1:] - p, p - steps[:-1]).amax(1)


def anderson_darling(z: Tensor) -> Tensor:
    """Return A^2 > 0, (N,), of z (N, d) against N(0, 1)."""
    z, d = z.sort(1).values, z.shape[1]
    tails = torch.special.log_ndtr(z) + torch.special.log_ndtr(-z.flip(1))
    odd = 2 * torch.arange(1, d + 1, device=z.device) - 1
    return -d - (odd * tails).mean(1)


def neighbours(z: Tensor, axis: int) -> Tensor:
    """Return the correlation (N,) of neighbours along an axis of z (N, C, H, W), at lag 1."""
    z = z - z.mean((1, 2, 3), keepdim=True)
    n = z.shape[axis]
    products = z.narrow(axis, 0, n - 1) * z.narrow(axis, 1, n - 1)
    return products.flatten(1).mean(1) / z.square().flatten(1).mean(1).clamp_min(TINY)


def normality(z: Tensor) -> Tensor:
    """Return log A^2 (N,) of z (N, d) after its own mean and deviation are taken off."""
    deviation = z.std(1, keepdim=True).clamp_min(TINY)
    return anderson_darling((z - z.mean(1, keepdim=True)) / deviation).log()


def spectrum(z: Tensor) -> Tensor:
    """Return the deviation of the power spectrum over its mean, (N,), of z (N, d) as a signal."""
    power = torch.fft.rfft(z, dim=1).abs().square()
    return power.std(1) / power.mean(1).clamp_min(TINY)
