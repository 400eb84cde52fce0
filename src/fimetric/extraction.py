"""From a model and data to ``Features``: streaming, checked, and resumed where it was stopped."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fimetric.arguments import folder_of, whole, whole_or_none
from fimetric.data import Batch, batches, length, to_device
from fimetric.data.batches import Choice, rounded
from fimetric.features import Features
from fimetric.fingerprint import watched_fingerprint
from fimetric.gradients.norms import GradientNorms, Measured
from fimetric.intake import Intake, named_failures, refuse_idle_tensors
from fimetric.memory import batch_size_for
from fimetric.objectives.base import Batch as Input
from fimetric.objectives.base import Objective, as_objective, refuse_untold
from fimetric.objectives.steadiness import unchanged
from fimetric.parts import Parts
from fimetric.probe import Probe
from fimetric.probing import ROWS as PROBE_ROWS
from fimetric.probing import make_probe, rows_of
from fimetric.progress import progress as show_progress
from fimetric.provenance import difference
from fimetric.structure import changed, state


def extract(
    objective: Objective,
    data: Any,
    batch_size: int | None = None,
    group_size: int = 1,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Features:
    """Return the log squared gradient norms of every group of samples and every layer.

    Arguments:
        objective: what is differentiated.
        data: whatever ``fimetric.data.batches`` takes.
        batch_size: samples to a forward pass, rounded to whole groups. If None, as many as memory
            holds, 64 at most; a call that goes on takes the size of the one before.
        group_size: consecutive samples whose losses are summed before differentiating. Samples
            left over at the end are cut, with a log line.
        folder: where to keep the features. Parts are written to ``<folder>.parts`` as they are
            done; a later call with the same model, objective and data goes on from there.
        progress: show a progress bar with the time left.

    Raises:
        ValueError: for empty or non-finite data, or a folder with features of something else.
        RuntimeError: where a sample's loss or norms depend on the rest of its batch, or the model
            changes itself in its forward pass.
        TypeError: for a model without an objective, or sizes that are no whole numbers.
    """
    refuse_idle_tensors(as_objective(objective).module)
    whole_or_none("batch_size", batch_size)
    whole("group_size", group_size)
    if folder is not None:
        folder_of(folder)
        refuse_untold(objective)
    return run(Extractor(objective, group_size), data, batch_size, folder, progress)


class Extraction(Protocol):
    """Turns batches into features: ``Extractor``, or one of other statistics."""

    group_size: int

    @property
    def objective(self) -> Objective:
        """The objective whose model the batches go through."""
        ...

    def words(self) -> str:
        """Return what is measured, in words that change when it does."""
        ...

    def difference(self, features: Features) -> str:
        """Return in words what else a table was made from; empty where it was this."""
        ...

    def __call__(self, batch: Batch) -> Features:
        """Return the features of one batch of whole groups."""
        ...


def run(
    extractor: Extraction,
    data: Any,
    batch_size: int | None = None,
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
    parts = Parts(None if folder is None else Path(folder), extractor.difference)

    def choice(first: Batch) -> int:
        size = batch_size or parts.batch_size
        first = check(first)
        parts.batch_size = size or batch_size_for(extractor.objective, _placed(first, module))
        return parts.batch_size

    source = (_whole if whole_groups else batches)(data, choice, group_size)
    total = length(data)
    whole = None if total is None else total // group_size * group_size
    with show_progress("extracting", whole, progress) as advance:
        try:
            for batch in map(check, source):
                if not parts.holds(batch):
                    with named_failures(module, batch):
                        parts.add(extractor(batch))
                advance(len(batch.ids))
        finally:
            parts.flush()
    return parts.finish(check.spec)


def _placed(batch: Batch, module: nn.Module) -> Input:
    return to_device(batch.x, next(module.parameters()).device)


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

    The first batch is checked: its first, middle and last group are computed alone as well, and the
    model must be the same after it.

    Arguments:
        objective: what is differentiated.
        group_size: consecutive samples to a row.
        probe: of the objective, where there is one already.
    """

    def __init__(
        self, objective: Objective, group_size: int = 1, probe: Probe | None = None
    ) -> None:
        self.objective, self.group_size = objective, group_size
        self.norms = GradientNorms(objective.module)
        self.fingerprint = ""  # learned from the first batch, as all below
        self.unsteady: tuple[str, ...] = ()
        self._before = state(objective)  # of before the first forward pass
        self.probe = probe
        self._bounds: dict[str, Tensor] = {}

    def words(self) -> str:
        """Return what is measured."""
        return self.objective.describe()

    def difference(self, features: Features) -> str:
        """Return in words what else a table was made from; empty where it was this."""
        if features.group_size != self.group_size:
            return f"another group size: {features.group_size}, not {self.group_size}"
        if features.grouping != "joint":
            return f"groups by the {features.grouping} of their samples, not by a joint gradient"
        return difference(features, self.objective, self.words())

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
        x = _placed(batch, self.objective.module)
        tables = {view: self._view(view, x) for view in self.objective.views()}
        if not self._bounds:
            self._learn(x, tables)
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
            dimensions=self.objective.dimensions(x).cpu().numpy(),
            objective=self.words(),
            fingerprint=self.fingerprint,
            unsteady=self.unsteady,
            seed=self.objective.seed,
            group_size=self.group_size,
            probe=self.probe,
        )

    def _view(self, view: str, x: Input) -> "_Table":
        with nullcontext() if self._bounds else unchanged(self.objective):
            losses, joint = self._losses(view, x)
        norms = self.norms_of(without_draw(view))
        if self._bounds:
            table = norms(joint)
            self._mend(view, x, table)
            return _Table(losses.detach().cpu().double().numpy(), table)
        table, bound = measured = norms.measure(joint)
        self._mend(view, x, table, bound)
        self._check_alone(view, x, losses, measured)
        return _Table(losses.detach().cpu().double().numpy(), table, bound)

    def _learn(self, x: Input, tables: dict[str, "_Table"]) -> None:
        """Learn from the first batch what holds for all: what is unsteady, the probe, the bounds.

        Bounds are those of made-up rows, so that neither the order of the data nor the size of the
        batches moves a column; only where no such rows can be computed are they the batch's own.
        """
        self.unsteady = changed(self._before, state(self.objective))
        self.fingerprint = watched_fingerprint(self.objective, self.unsteady)
        if self.probe is None and any(np.isfinite(t.losses).any() for t in tables.values()):
            self.probe = make_probe(self.objective, x)  # a model that is broken is told elsewhere
        for view, table in tables.items():
            bound = table.bound
            if self.probe is not None:
                bound = self._bound_of_rows(
                    view, to_device(rows_of(self.probe.entries), _device(x))
                )
            assert bound is not None  # of the first batch
            self._bounds[view] = bound.nanmedian(0).values.nan_to_num(0.0, posinf=0.0)

    def _bound_of_rows(self, view: str, rows: Input) -> Tensor:
        """Return the bounds (rows, J) of groups, each as of one row alone, times the group's size.

        A bound is a square of a sum of the sizes of all terms, and a group has so many more terms.
        """
        norms = self.norms_of(without_draw(view))
        each = []
        for row in range(PROBE_ROWS):
            losses = self.objective.losses(view, _rows(rows, slice(row, row + 1)))
            each.append(norms.measure(losses).bound)
        return torch.cat(each) * self.group_size**2

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
        return _rows(x, slice(g * self.group_size, (g + 1) * self.group_size))

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
    bound: Tensor | None = None  # of the first batch


def _rows(x: Input, rows: slice) -> Input:
    return {k: v[rows] for k, v in x.items()} if isinstance(x, dict) else x[rows]


def _device(x: Input) -> torch.device:
    return (next(iter(x.values())) if isinstance(x, dict) else x).device


def _whole(data: Any, choice: Choice, group_size: int) -> Iterator[Batch]:
    """Yield batches of whole groups, and raise where a batch ends within a group.

    Raises:
        ValueError: at the last batch, since an iterable does not tell its length before.
    """
    done = 0
    for batch in batches(data, lambda first: rounded(choice(first), group_size)):
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
