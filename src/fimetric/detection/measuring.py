"""What a sample costs on this machine, measured on a few."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fimetric.extraction.extractor import Extractor
from fimetric.extraction.loss_parts import FREE
from fimetric.extraction.parts import Parts
from fimetric.extraction.stream import stream
from fimetric.objectives.base import Objective

FEW = 4  # samples that are enough where a sample takes long
MOST = 64  # samples that are measured where it does not
PATIENCE = 3.0  # seconds that measuring them may take


@dataclass(frozen=True)
class Cost:
    """What a sample costs.

    Arguments:
        seconds: of each sample, once all is ready.
        ready: seconds before the first, which the checks of the first batch take.
        samples: how many were measured.
        batch_size: samples to a forward pass.
    """

    seconds: float
    ready: float
    samples: int
    batch_size: int

    def of(self, samples: int) -> float:
        """Return the seconds that so many samples take."""
        return self.ready + samples * self.seconds


def cost_of(objective: Objective, first: Callable[[int], Any], available: int) -> Cost:
    """Return what a sample costs: its losses and their gradient norms.

    Arguments:
        objective: what is differentiated.
        first: the first so many samples of some data.
        available: how many there are.

    Raises:
        ValueError, TypeError, RuntimeError: for samples that the model cannot take.
    """
    extractor = Extractor(objective, parts=FREE)
    parts = Parts(None, extractor.difference)  # keeps how many samples fit into memory

    def seconds(samples: int) -> float:
        start = time.perf_counter()
        for _ in stream(extractor, first(samples), parts.batch_size, parts=parts):
            pass
        return time.perf_counter() - start

    samples = min(FEW, available)
    began, each = seconds(samples), seconds(samples) / samples
    ready, more = began - samples * each, min(MOST, available, int(PATIENCE / each))
    if more > samples:
        seconds(more)  # what is learnt of a new size is learnt once
        samples, each = more, seconds(more) / more
    assert parts.batch_size is not None
    return Cost(each, max(ready, 0.0), samples, parts.batch_size)
