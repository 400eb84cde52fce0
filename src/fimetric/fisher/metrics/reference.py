"""Reference samples, whose gradients' second moments make F; read as often as wanted.

They are split at random into two halves: where something has to be chosen, what one half suggests
is judged by the other.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fimetric.data import Batch, to_device
from fimetric.extraction.parts import row_digests
from fimetric.extraction.views import without_draw
from fimetric.fisher.stream import refuse_infinite
from fimetric.gradients import Contribution, GradientNorms
from fimetric.objectives.base import Objective
from fimetric.objectives.reading import read
from fimetric.objectives.steadiness import unchanged
from fimetric.progress import progress as show_progress


class References:
    """Holds reference samples in memory.

    Arguments:
        objective: what is differentiated.
        data: whatever ``fimetric.data.batches`` takes; some hundreds of samples.
        batch_size: samples to a forward pass.
        seed: of the halves.
        limit: how many of the samples to take, the first ones; all by default.
        progress: whether to show progress.

    Raises:
        ValueError: for empty or non-finite data.
    """

    def __init__(
        self,
        objective: Objective,
        data: Any,
        batch_size: int,
        seed: int = 0,
        limit: int | None = None,
        progress: bool = True,
    ) -> None:
        self.objective, self._progress, self._checked = objective, progress, False
        self._held: list[Batch] = []
        for batch in read(objective, data, batch_size):
            room = None if limit is None else limit - sum(len(part) for part in self._held)
            if room is not None and room <= 0:
                break
            self._held.append(batch if room is None else batch.cut(0, room))
        order = np.random.default_rng(seed).permutation(len(self))
        self._first = torch.zeros(len(self), dtype=torch.bool)
        self._first[order[: len(order) - len(order) // 2]] = True
        self.views: dict[str, list[str]] = {}
        for view in objective.views():
            self.views.setdefault(without_draw(view), []).append(view)

    def __len__(self) -> int:
        """Return the number of samples."""
        return sum(len(batch) for batch in self._held)

    def digest(self) -> str:
        """Return a hash of the samples."""
        digest = hashlib.sha256()
        for batch in self._held:
            for digest_of_row in row_digests(batch):
                digest.update(digest_of_row)
        return digest.hexdigest()[:16]

    def read(self, prefix: str, what: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each batch and draw, which samples are of the first half, and the losses.

        Draws of one view are references alike: F is a mean over the noise too.

        Arguments:
            prefix: name of a view without its draw.
            what: name of the work, for the progress bar.

        Yields:
            (n,) mask and (n,) losses with their graph.

        Raises:
            ValueError: where a loss is not finite, naming the sample.
        """
        views = self.views[prefix]
        device = next(self.objective.module.parameters()).device
        halves = self._first.split([len(batch) for batch in self._held])
        with show_progress(what, len(self) * len(views), self._progress) as advance:
            for batch, first in zip(self._held, halves, strict=True):
                x = to_device(batch.x, device)
                for view in views:
                    with torch.enable_grad(), self._watched():
                        losses = self.objective.losses(view, x)
                    self._checked = True
                    refuse_infinite(losses, batch.ids, "the loss of reference sample")
                    yield first, losses
                    advance(len(batch))

    def _watched(self) -> AbstractContextManager[None]:
        """Watch the model for changes in the first forward pass."""
        return nullcontext() if self._checked else unchanged(self.objective)

    def layers(self, norms: GradientNorms, prefix: str) -> dict[str, "Layer"]:
        """Return tensor -> the size of its gradient, and of the rounding noise in it.

        Raises:
            ValueError: where a loss or a norm is not finite, or no layer has a gradient.
        """
        total = bound = torch.zeros(len(norms.names), dtype=torch.float64)
        ids = iter(batch.ids for batch in self._held for _ in self.views[prefix])
        for k, (_, losses) in enumerate(self.read(prefix, "reference: norms")):
            with torch.enable_grad():
                if k == 0:  # bounds are those of the first batch, as in features
                    table, limits = norms.measure(losses)
                    bound = limits.double().mean(0).cpu()
                else:
                    table = norms(losses)
            _refuse_table(table, next(ids), norms.names)
            total = total + table.double().sum(0).cpu()
        mean = total / (len(self) * len(self.views[prefix]))
        if not (mean > bound).any():
            raise ValueError(
                "no layer has a gradient above rounding noise on the reference samples; check that "
                "the loss depends on the parameters"
            )
        named = dict(self.objective.module.named_parameters())
        return {
            name: Layer(float(mean[j]), float(bound[j]), named[name].numel())
            for j, name in enumerate(norms.names)
        }


@dataclass(frozen=True)
class Layer:
    """Mean squared norm of one tensor's gradient, its rounding bound, and the tensor's size."""

    mean_square: float
    bound: float
    numel: int

    @property
    def live(self) -> bool:
        """Whether there is more than rounding noise."""
        return self.mean_square > self.bound

    @property
    def scale(self) -> float:
        """c: the mean square of one entry."""
        return self.mean_square / self.numel


@torch.enable_grad()  # on a generator: while it is at work, and not while its caller is
def contributions(
    norms: GradientNorms, losses: Tensor, retain_graph: bool = False
) -> Iterator[tuple[str, Contribution]]:
    """Yield what ``norms.contributions`` yields, also where gradients are switched off."""
    yield from norms.contributions(losses, retain_graph)


def _refuse_table(table: Tensor, ids: list[str], names: list[str]) -> None:
    if not table.isfinite().all():
        j = int((~table.isfinite()).any(0).nonzero()[0])
        what = f"the squared gradient norm of {names[j]!r} of reference sample"
        refuse_infinite(table[:, j], ids, what)
