"""Numbers of a sample that must not change with the rest of its batch."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from fimetric.data.batch import Batch, Input, to_device, trimmed
from fimetric.data.prepared import prepared
from fimetric.extraction.windows import is_padded
from fimetric.objectives.base import Objective
from fimetric.typing import Array

ALONE = 1e-3  # float32 rounding through a deep model, relative to the size of the numbers


WHY = (
    "the model uses statistics of the batch, even if detached, or random numbers, or reads the "
    "padding behind shorter texts. A score must depend on the sample alone; use fixed statistics "
    "(model.eval()) and fixed noise, and leave out what attention_mask marks by 0"
)


class Alone:
    """Gives some samples of a batch as they would come without the others.

    Padding that was there for longer ones is gone, and texts are prepared anew; not so where the
    model takes samples of the length of the batch alone, which then is part of them.

    Arguments:
        objective: whose losses are taken.
        batch: the samples.
    """

    def __init__(self, objective: Objective, batch: Batch) -> None:
        self.objective, self.batch = objective, batch
        self._shorter: bool | None = None  # whether the model takes them so; not known yet

    def __call__(self, start: int, stop: int) -> Input:
        """Return the samples from one to before another."""
        device = next(self.objective.module.parameters()).device
        piece = self.batch.cut(start, stop)
        whole = to_device(piece.x, device)
        if self._shorter is False:
            return whole
        alone = to_device(self._without_padding(piece), device)
        if self._shorter is None:
            self._shorter = self._takes(alone)
        return alone if self._shorter else whole

    def _without_padding(self, piece: Batch) -> Input:
        if piece.raw is None:
            return trimmed(piece.x)
        raw = [str(text) for text in piece.raw]
        made = prepared(raw, piece.ids, piece.kept, self.objective.prepare)
        return trimmed(self.objective.conditioned(made).x)

    def _takes(self, x: Input) -> bool:
        try:
            with torch.no_grad():
                for view in self.objective.views():
                    self.objective.losses(view, x)
        except Exception:  # whatever a model raises on samples that are too short for it
            return False
        return True


class Checks:
    """Tells which batches are to be compared with their samples alone.

    The first is, and the first one with padding, which is another way for samples to hang on each
    other; one that did not pass is none.
    """

    def __init__(self) -> None:
        self._batch = self._padding = False  # whether one has passed

    def alone(self, objective: Objective, batch: Batch) -> Alone | None:
        """Return what gives samples of a batch alone; None where nothing is to be compared."""
        padding = is_padded(batch) and not self._padding
        return Alone(objective, batch) if padding or not self._batch else None

    def passed(self, batch: Batch) -> None:
        """Take note of a batch whose samples are the same alone."""
        self._batch, self._padding = True, self._padding or is_padded(batch)


def refuse_dependent(
    measure: Callable[[Input], Array],
    alone: Callable[[int, int], Input],
    values: Array,
    names: Sequence[str],
    tolerance: float = ALONE,
) -> None:
    """Measure the first, the middle and the last sample alone, and compare.

    Arguments:
        measure: batch -> numbers (N, K).
        alone: gives samples without the rest of their batch, such as ``Alone``.
        values: the numbers (N, K) of the batch.
        names: of the K columns.
        tolerance: relative to the largest number of a column, and to the number itself; more where
            rounding of the input changes the numbers by more.

    Raises:
        RuntimeError: naming the column where they differ.
    """
    scale = np.where(np.isfinite(values), np.abs(values), 0).max(0)
    for i in sorted({0, len(values) // 2, len(values) - 1}):
        sample = alone(i, i + 1)
        found = measure(sample)[0]
        if not _wrong(found, values[i], tolerance, scale).any():
            continue
        slack = tolerance + 10 * _sensitivity(measure, sample, found, scale)
        wrong = _wrong(found, values[i], slack, scale)
        if wrong.any():
            raise RuntimeError(
                f"{names[int(np.flatnonzero(wrong)[0])]!r} of a sample changes with the rest of "
                f"its batch: {WHY}"
            )


def nudged(x: Input, seed: int) -> Input:
    """Return floating-point data moved by about one rounding error, up or down at random."""
    if isinstance(x, dict):
        return {key: nudged(value, seed) for key, value in x.items()}  # type: ignore[misc]
    if not x.is_floating_point():
        return x
    signs = torch.randint(2, x.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return x + signs.to(x) * torch.finfo(x.dtype).eps * x.abs().amax().clamp_min(1e-30)


def _wrong(found: Array, expected: Array, tolerance: float, scale: Array) -> Array:
    close = np.isclose(found, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    return np.asarray(~close)


def _sensitivity(
    measure: Callable[[Input], Array], sample: Input, alone: Array, scale: Array
) -> float:
    """Return by how much, relatively, rounding errors of the input change numbers of a sample.

    Where the same input gives another result each time the answer is 0: random numbers are no
    rounding errors.
    """
    if _wrong(measure(sample)[0], alone, 1e-6, scale).any():
        return 0.0
    size = np.maximum(np.abs(alone), scale)
    changes = [0.0]
    for draw in range(4):
        with np.errstate(invalid="ignore", divide="ignore"):
            change = np.abs(measure(nudged(sample, draw))[0] - alone) / size
        changes.append(float(change[np.isfinite(change)].max(initial=0.0)))
    return max(changes)
