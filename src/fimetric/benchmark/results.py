"""What a benchmark found: one entry for each comparison, and the scores behind it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One method on one model at one group size, in-distribution against one foreign set.

    Arguments:
        model: name of the trained model, such as ``fashion_mnist-vae`` or ``mnist-diffusion-1``.
        family: such as ``vae`` or ``diffusion``.
        seed: of the training.
        own: in-distribution set.
        other: foreign set.
        distance: ``far`` or ``near``; ``own`` of what no method may tell apart.
        method: name of the method.
        group_size: samples judged together.
        arrangement: ``random`` or ``consecutive`` groups.
        auroc: P(foreign score > own score) + P(equal) / 2.
        low, high: 95% interval of it.
        own_groups, other_groups: how many groups were compared.
    """

    model: str
    family: str
    seed: int
    own: str
    other: str
    distance: str
    method: str
    group_size: int
    arrangement: str
    auroc: float
    low: float
    high: float
    own_groups: int
    other_groups: int

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What tells one comparison from all others."""
        return (self.model, self.other, self.method, self.group_size, self.arrangement)


@dataclass(frozen=True)
class Curves:
    """The scores behind a comparison: own (n,) and foreign (m,), higher = more anomalous."""

    own: Scores
    other: Scores


@dataclass(frozen=True)
class Ranked:
    """The most and the least anomalous samples of a set, by one method on one model.

    ``images`` holds, for each sample, uint8 (H, W) or (H, W, 3); ``scores`` one number each, in
    falling order: the most anomalous first, the least anomalous last.
    """

    model: str
    set: str
    method: str
    ids: tuple[str, ...]
    images: tuple[NDArray[np.uint8], ...]
    scores: tuple[float, ...]
