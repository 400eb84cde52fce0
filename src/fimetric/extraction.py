"""From a model and data to ``Features``: streaming, checked, and resumed where it was stopped."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fimetric.arguments import folder_of, whole
from fimetric.data import Batch, batches, length, to_device
from fimetric.features import Features
from fimetric.fingerprint import model_fingerprint
from fimetric.gradients.norms import GradientNorms, Measured
from fimetric.intake import Intake, named_failures, refuse_idle_tensors
from fimetric.objectives.base import Batch as Input
from fimetric.objectives.base import Objective, as_objective
from fimetric.parts import Parts, add_batch
from fimetric.progress import progress as show_progress


def extract(
    objective: Objective,
    data: Any,
    batch_size: int = 64,
    group_size: int = 1,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Features:
    """Return the log squared gradient norms of every group of samples and every layer.

    Arguments:
        objective: what is differentiated.
        data: whatever ``fimetric.data.batches`` takes.
        batch_size: samples to a forward pass, rounded to whole groups.
        group_size: consecutive samples whose losses are summed before differentiating. Samples
            left over at the end are cut, with a log line.
        folder: where to keep the features. Parts are written to ``<folder>.parts`` as they are
            done; a later call with the same model, objective and data goes on from there.
        progress: show a progress bar with the time left.

    Raises:
        ValueError: for empty or non-finite data, or a folder with features of something else.
        RuntimeError: where a sample's loss or norms depend on the rest of its batch.
        TypeError: for a model without an objective, or sizes that are no whole numbers.
    """
    refuse_idle_tensors(as_objective(objective).module)
    whole("batch_size", batch_size)
    whole("group_size", group_size)
    if folder is not None:
        folder_of(folder)
    return run(Extractor(objective, group_size), data, batch_size, folder, progress)


class Extraction(Protocol):
    """Turns batches into features: ``Extractor``, or one of other statistics."""

    group_size: int

    @property
    def objective(self) -> Objective:
        """The objective whose model the batches go through."""
        ...

    @property
    def provenance(self) -> dict[str, object]:
        """What the features come from, by the names that ``Features`` gives it."""
        ...

    def __call__(self, batch: Batch) -> Features:
        """Return the features of one batch of whole groups."""
        ...


def run(
    extractor: Extraction,
    data: Any,
    batch_size: int = 64,
    folder: str | Path | None = None,
    progress: bool = True,
    whole_groups: bool = False,
    intake: Intake | None = None,
) -> Features:
    """Do what ``extract`` does with an extractor that may have seen batches before.

    With ``whole_groups`` samples left over at the end raise ValueError. Each batch is checked by
    ``intake``, a new one if None.
    """
    group_size, module = extractor.group_size, extractor.objective.module
    check = Intake(extractor.objective) if intake is None else intake
    refuse_idle_tensors(module)
    source = (_whole if whole_groups else batches)(data, batch_size, group_size)
    parts = Parts(None if folder is None else Path(folder), extractor.provenance)
    digest = hashlib.sha256()
    total = length(data)
    whole = None if total is None else total // group_size * group_size
    with show_progress("extracting", whole, progress) as advance:
        try:
            for batch in map(check, source):
                add_batch(digest, batch)
                if not parts.holds(batch):
                    with named_failures(module, batch):
                        parts.add(extractor(batch))
                advance(len(batch.ids))
        finally:
            parts.flush()
    return parts.finish(digest.hexdigest())


class Norms(Protocol):
    """What is measured of a gradient: ``GradientNorms``, or norms in another metric."""

    @property
    def names(self) -> list[str]:
        """Names of the K columns."""
        ...

    def __call__(self, losses: Tensor) -> Tensor:
        """Return (N, K) squared norms of the gradients of losses (N,)."""
        ...

    def measure(self, losses: Tensor) -> Measured:
        """Return the same with bounds on their rounding noise; the graph is kept."""
        ...


class Extractor:
    """Turns one batch after another into features.

    The first batch is checked: its first, middle and last group are computed alone as well.

    Arguments:
        objective: what is differentiated.
        group_size: consecutive samples to a row.
    """

    def __init__(self, objective: Objective, group_size: int = 1) -> None:
        self.objective, self.group_size = objective, group_size
        self.norms = GradientNorms(objective.module)
        self.fingerprint = model_fingerprint(objective.module)
        self._bounds: dict[str, Tensor] = {}

    @property
    def provenance(self) -> dict[str, object]:
        """What the features come from, by the names that ``Features`` gives it."""
        return {
            "objective": self.objective.describe(),
            "fingerprint": self.fingerprint,
            "seed": self.objective.seed,
            "group_size": self.group_size,
        }

    def norms_of(self, prefix: str) -> Norms:
        """Return what is measured in a view, named without its draw."""
        return self.norms

    def numels_of(self, prefix: str) -> list[int]:
        """Return the number of elements behind each column of ``norms_of(prefix)``."""
        named = dict(self.objective.module.named_parameters())
        return [named[name].numel() for name in self.norms.names]

    @torch.enable_grad()
    def __call__(self, batch: Batch) -> Features:
        """Return the features of one batch of whole groups."""
        device = next(self.objective.module.parameters()).device
        x = to_device(batch.x, device)
        tables = {view: self._view(view, x) for view in self.objective.views()}
        values = side_by_side({view: _log(table.norms) for view, table in tables.items()})
        bounds = side_by_side({view: _log(self._bounds[view]) for view in tables})
        columns = [(p, name) for p in values for name in self.norms_of(p).names]
        return Features(
            values=np.concatenate(list(values.values()), axis=1),
            names=tuple(column_name(p, name) for p, name in columns),
            losses=np.stack([table.losses for table in tables.values()], axis=1),
            views=tuple(view or "loss" for view in tables),
            ids=tuple(batch.ids),
            bounds=np.exp(np.concatenate(list(bounds.values()))),
            numels=np.array([numel for p in values for numel in self.numels_of(p)]),
            data_dimension=self.objective.data_dimension(x),
            **self.provenance,  # type: ignore[arg-type]
        )

    def _view(self, view: str, x: Input) -> "_Table":
        losses, joint = self._losses(view, x)
        norms = self.norms_of(without_draw(view))
        if view in self._bounds:
            table = norms(joint)
            self._mend(view, x, table)
        else:
            table, bound = measured = norms.measure(joint)
            self._mend(view, x, table, bound)
            self._check_alone(view, x, losses, measured)
            self._bounds[view] = bound.nanmedian(0).values.nan_to_num(0.0, posinf=0.0)
        return _Table(losses.detach().cpu().double().numpy(), table)

    def _mend(self, view: str, x: Input, table: Tensor, bound: Tensor | None = None) -> None:
        """Compute groups that are not finite again, alone: NaN can spread in a shared graph."""
        norms = self.norms_of(without_draw(view))
        for g in (~table.isfinite().all(1)).nonzero().flatten().tolist():
            alone = norms.measure(self._losses(view, self._group(x, g))[1])
            table[g] = alone.table[0]
            if bound is not None:
                bound[g] = alone.bound[0]

    def _losses(self, view: str, x: Input) -> tuple[Tensor, Tensor]:
        """Return the losses of the samples, and those of the groups, which are differentiated."""
        losses = self.objective.losses(view, x)
        return losses, losses.view(-1, self.group_size).sum(1)

    def _group(self, x: Input, g: int) -> Input:
        rows = slice(g * self.group_size, (g + 1) * self.group_size)
        return {k: v[rows] for k, v in x.items()} if isinstance(x, dict) else x[rows]

    def _check_alone(self, view: str, x: Input, losses: Tensor, measured: Measured) -> None:
        """Compute three groups without the rest of the batch and compare.

        Raises:
            RuntimeError: naming the view where they differ.
        """
        table, bound = measured
        measure = self.norms_of(without_draw(view))
        rtol = 1e-2 if table.dtype == torch.float32 else 1e-6
        for g in sorted({0, len(table) // 2, len(table) - 1}):
            own, joint = self._losses(view, self._group(x, g))
            together = losses[g * self.group_size : (g + 1) * self.group_size]
            norms = measure(joint)[0]
            wrong_loss = _differ(own, together, rtol, 1e-6)
            wrong_norm = _differ(norms, table[g], rtol, 4 * bound[g])
            if not (wrong_loss.any() or wrong_norm.any()):
                continue
            slack = rtol + 10 * self._sensitivity(view, self._group(x, g), own, norms)
            wrong_loss = _differ(own, together, slack, 1e-6)
            wrong_norm = _differ(norms, table[g], slack, 4 * bound[g])
            if wrong_loss.any() or wrong_norm.any():
                what = "the loss" if wrong_loss.any() else _first_of(measure.names, wrong_norm)
                raise RuntimeError(
                    f"{what} of a sample changes with the rest of its batch"
                    f"{f' (view {view})' if view else ''}: the model uses statistics of the batch, "
                    "even if detached, or random numbers. A score must depend on the sample alone; "
                    "use fixed statistics (model.eval()) and fixed noise"
                )

    def _sensitivity(self, view: str, x: Input, losses: Tensor, norms: Tensor) -> float:
        """Return by how much, relatively, rounding errors of the input change losses and norms.

        On data far from what it was trained on, a deep flow can amplify one rounding error to a
        percent of its norms. That is no dependence on the batch. Where the same input gives
        another result each time the answer is 0: random numbers are no rounding errors.
        """
        measure = self.norms_of(without_draw(view))
        again, joint = self._losses(view, x)
        if _differ(again, losses, 1e-6, 1e-6).any():
            return 0.0
        changes = [0.0]
        for draw in range(4):
            moved, joint = self._losses(view, _nudged(x, draw))
            for new, old in ((moved, losses), (measure(joint)[0], norms)):
                change = ((new - old).detach() / old.detach()).abs()
                changes.append(float(change.nan_to_num(0.0, posinf=0.0).quantile(0.9)))
        return max(changes)


@dataclass(frozen=True)
class _Table:
    losses: NDArray[np.float64]  # (samples,)
    norms: Tensor  # (groups, tensors), squared


def _whole(data: Any, batch_size: int, group_size: int) -> Iterator[Batch]:
    """Yield batches of whole groups, and raise where a batch ends within a group.

    Raises:
        ValueError: at the last batch, since an iterable does not tell its length before.
    """
    done = 0
    for batch in batches(data, max(batch_size // group_size, 1) * group_size):
        done += len(batch)
        if done % group_size:
            raise ValueError(
                f"{done} samples do not make whole groups of {group_size}; leave out "
                f"{done % group_size}"
            )
        yield batch


def _nudged(x: Input, seed: int) -> Input:
    """Return floating-point data moved by about one rounding error, up or down at random."""
    if isinstance(x, dict):
        return {key: _nudged(value, seed) for key, value in x.items()}  # type: ignore[misc]
    if not x.is_floating_point():
        return x
    signs = torch.randint(2, x.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return x + signs.to(x) * torch.finfo(x.dtype).eps * x.abs().amax().clamp_min(1e-30)


def _first_of(names: list[str], wrong: Tensor) -> str:
    return f"the gradient norm of {names[int(wrong.nonzero()[0])]!r}"


def _differ(a: Tensor, b: Tensor, rtol: float, atol: Tensor | float) -> Tensor:
    """Mark where two finite numbers differ; what is not finite cannot be compared."""
    return ((a - b).abs() > rtol * b.abs() + atol) & a.isfinite() & b.isfinite()


def _log(squared: Tensor) -> NDArray[np.float64]:
    """Take the logarithm, once and for all; an exact zero gives -inf."""
    return squared.double().log().cpu().numpy()


def side_by_side(tables: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Average the draws of one view, ``t=3/draw=0``, ``t=3/draw=1``, ..., after the logarithm."""
    draws: dict[str, list[NDArray[np.float64]]] = {}
    for view, table in tables.items():
        draws.setdefault(without_draw(view), []).append(table)
    return {name: np.mean(each, axis=0) for name, each in draws.items()}


def without_draw(view: str) -> str:
    """Return the prefix of a view's columns, ``t=3`` of ``t=3/draw=1``."""
    return "/".join(part for part in view.split("/") if not part.startswith("draw="))


def column_name(prefix: str, name: str) -> str:
    """Return the name of a column of features."""
    return f"{prefix}/{name}" if prefix else name
