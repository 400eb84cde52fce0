"""Samples that models of each family take."""

import torch

from fimetric.data import Samples
from fimetric.models import FAMILIES

SHAPES = {"images": (1, 8, 8), "sounds": (512,), "tables": (5,)}


def example(kind: str, n: int = 3, seed: int = 0) -> Samples:
    """Return n samples: images of 8 bits, clips in [-1, 1], rows of numbers about 0."""
    samples = FAMILIES[kind].samples
    random = torch.Generator().manual_seed(seed)
    size = (n, *SHAPES[samples])
    if samples == "images":
        return Samples(torch.randint(256, size, generator=random).to(torch.uint8))
    values = torch.randn(size, generator=random)
    return Samples(0.3 * values.clamp(-3, 3) if samples == "sounds" else values)
