"""Samples that models of each family take."""

import pytest
import torch

from fimetric.data import Samples, Texts
from fimetric.models import FAMILIES

SHAPES = {"images": (1, 8, 8), "sounds": (512,), "tables": (5,)}
WORDS = ("the", "river", "of", "a", "Å", "stone", "ran,", "slow", "house", "in 1852", "漢字", "was")


def example(kind: str, n: int = 3, seed: int = 0) -> Samples:
    """Return n samples: images of 8 bits, clips in [-1, 1], rows of numbers about 0, texts."""
    samples = FAMILIES[kind].samples
    random = torch.Generator().manual_seed(seed)
    if samples == "texts":
        pytest.importorskip("transformers")
        return Texts([_text(random) for _ in range(n)])
    size = (n, *SHAPES[samples])
    if samples == "images":
        return Samples(torch.randint(256, size, generator=random).to(torch.uint8))
    values = torch.randn(size, generator=random)
    return Samples(0.3 * values.clamp(-3, 3) if samples == "sounds" else values)


def _text(random: torch.Generator) -> str:
    """Return a text of 5 to 50 words."""
    number = int(torch.randint(5, 51, (), generator=random))
    return " ".join(WORDS[i] for i in torch.randint(len(WORDS), (number,), generator=random))
