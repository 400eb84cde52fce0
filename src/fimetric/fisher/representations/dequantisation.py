"""Discrete data made continuous, for which alone a change of variables is defined."""

import torch
from torch import Tensor


def dequantised(x: Tensor, levels: int, generator: torch.Generator) -> Tensor:
    """Return ((levels - 1) x + u) / levels, u uniform on [0, 1), drawn for each sample by itself.

    Arguments:
        x: (N, *) = k / (levels - 1).
        levels: 256 for 8 bits.
        generator: on the CPU.

    Returns:
        (N, *) float64 in [0, 1).
    """
    noise = torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    return ((levels - 1) * x.double() + noise) / levels
