"""From one batch to its row of ``Features``: the gradient norms of an objective, checked."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fimetric.data import Batch, to_device
from fimetric.data.batch import Input
from fimetric.extraction.alone import ALONE, WHY, Alone, Checks, nudged, refuse_dependent
from fimetric.extraction.loss_parts import difference as parts_differ
from fimetric.extraction.loss_parts import loss_parts, refuse_unknown
from fimetric.extraction.measures import NoNorms, Norms
from fimetric.extraction.probing import make_probe
from fimetric.extraction.provenance import difference
from fimetric.extraction.reference import cut
from fimetric.extraction.views import column_name, mean_of_draws, without_draw
from fimetric.features.probe import Probe
from fimetric.features.table import Features
from fimetric.fingerprint.model import watched_fingerprint
from fimetric.fingerprint.structure import original, state, unsteady
from fimetric.gradients.contributions.costs import Costs, using
from fimetric.gradients.engine import Measured
from fimetric.gradients.machine import costs_on
from fimetric.gradients.norms import GradientNorms
from fimetric.objectives.base import Objective
from fimetric.objectives.one_pass import OnePass
from fimetric.objectives.steadiness import unchanged
from fimetric.objectives.takes import number_formats
from fimetric.typing import Array


class Extractor:
    """Turns one batch after another into features.

    The first batch, and the first with padding, is checked: its first, middle and last group are
    computed alone as well. The model must be the same after the first.

    Arguments:
        objective: what is differentiated.
        group_size: consecutive samples to a row.
        probe: of the objective, where there is one already.
        parts: which of ``objective.parts`` stand in the table too: ``"free"``, those of one forward
            pass, ``"costly"``, all, or none.
        gradient: whether norms are measured; without them the tables have no columns.

    ``costs``, by which the forms of norms are chosen, are this machine's where nobody sets others.

    Raises:
        ValueError: for other parts than these.
    """

    def __init__(
        self,
        objective: Objective,
        group_size: int = 1,
        probe: Probe | None = None,
        parts: str | None = None,
        gradient: bool = True,
    ) -> None:
        self.objective, self.group_size, self.parts = objective, group_size, parts
        refuse_unknown(parts)
        self.model = original(objective.module)
        self.norms: Norms = GradientNorms(self.model) if gradient else NoNorms()
        self.costs: Costs | None = None
        self.fingerprint = ""  # learned from the first batch, as all below
        self.unsteady: tuple[str, ...] = ()
        self._before = state(objective)  # of before the first forward pass
        self.probe = probe
        self._learned, self._checks = False, Checks()

    def words(self) -> str:
        """Return what is measured."""
        return self.objective.describe()

    def difference(self, features: Features) -> str:
        """Return in words what else a table was made from; empty where it was this."""
        if features.group_size != self.group_size:
            return f"another group size: {features.group_size}, not {self.group_size}"
        if features.grouping != "joint":
            return f"groups by the {features.grouping} of their samples, not by a joint gradient"
        other = difference(features, self.objective, self.words())
        if not other and bool(features.names) != bool(self.norms.names):
            other = "losses alone, without norms" if self.norms.names else "norms, not losses alone"
        return other or parts_differ(features, self.objective, self.parts)

    def norms_of(self, prefix: str) -> Norms:
        """Return what is measured in a view, named without its draw."""
        return self.norms

    def numels_of(self, prefix: str) -> list[int]:
        """Return the number of elements behind each column of ``norms_of(prefix)``."""
        named = dict(self.model.named_parameters())
        return [named[name].numel() for name in self.norms.names]

    @torch.enable_grad()
    def __call__(self, batch: Batch) -> Features:
        """Return the features of one batch of whole groups."""
        x = placed(batch, self.objective.module)
        self.costs = self.costs or costs_on(next(self.model.parameters()).device)
        once = OnePass(self.objective.shared() if self.parts else [])
        with using(self.costs):
            alone = self._checks.alone(self.objective, batch)
            tables = {view: self._view(view, x, once, alone) for view in self.objective.views()}
        with once.answering():
            part_names, parts = self._parts(x, alone)
        self._checks.passed(batch)
        if not self._learned:
            self._learn(x, tables, part_names)
        values = mean_of_draws({view: _log(table.norms) for view, table in tables.items()})
        columns = [(p, name) for p in values for name in self.norms_of(p).names]
        return Features(
            values=np.concatenate(list(values.values()), axis=1),
            names=tuple(column_name(p, name) for p, name in columns),
            losses=np.stack([table.losses for table in tables.values()], axis=1),
            views=tuple(view or "loss" for view in tables),
            ids=tuple(batch.ids),
            bounds=np.zeros(len(columns)),  # known at the end of the data, see ``bounds``
            numels=np.array([numel for p in values for numel in self.numels_of(p)]),
            dimensions=self.objective.dimensions(x).cpu().numpy(),
            objective=self.words(),
            fingerprint=self.fingerprint,
            unsteady=self.unsteady,
            seed=self.objective.seed,
            group_size=self.group_size,
            probe=self.probe,
            costs=asdict(self.costs),
            parts=parts,
            part_names=part_names,
        )

    def _parts(self, x: Input, alone: Alone | None) -> tuple[tuple[str, ...], Array]:
        """Return the names and numbers (N, P) of the parts that are asked for."""
        if (parts := self.parts) is None:
            return (), np.empty((0, 0))
        names, found = loss_parts(self.objective, x, parts)
        if alone:
            refuse_dependent(
                lambda x: loss_parts(self.objective, x, parts)[1],
                alone,
                found,
                names,
                max(ALONE, 4 * _coarsest(self.model)),
            )
        return names, found

    def _view(self, view: str, x: Input, once: OnePass, alone: Alone | None) -> "_Table":
        with nullcontext() if self._learned else unchanged(self.objective), once.listening():
            losses, joint = self._losses(view, x)
        norms = self.norms_of(without_draw(view))
        if not alone:
            table = norms(joint)
            self._mend(view, x, table)
            return _Table(losses.detach().cpu().double().numpy(), table)
        table, bound = measured = norms.measure(joint)
        self._mend(view, x, table, bound)
        self._check_alone(view, alone, losses, measured)
        return _Table(losses.detach().cpu().double().numpy(), table)

    def _learn(self, x: Input, tables: dict[str, "_Table"], parts: tuple[str, ...]) -> None:
        """Learn from the first batch what holds for all: what is unsteady, and the probe."""
        self.unsteady = unsteady(self.objective, self.model, self._before)
        self.fingerprint = watched_fingerprint(self.objective, self.unsteady)
        if self.probe is None and any(np.isfinite(t.losses).any() for t in tables.values()):
            # a model that is broken is told elsewhere
            self.probe = make_probe(self.objective, x, parts)
        self._learned = True

    @torch.enable_grad()
    def bounds(self, reference: Sequence[Input]) -> Array:
        """Return the bounds (J,) on the rounding of squared norms, the median of some samples'.

        A bound is a square of a sum of the sizes of all terms, and a group has so many more terms.

        Arguments:
            reference: samples, each a batch of one.
        """
        found = {}
        for view in self.objective.views():
            norms = self.norms_of(without_draw(view))
            each = [norms.measure(self.objective.losses(view, x)).bound for x in reference]
            middle = torch.cat(each).nanmedian(0).values.nan_to_num(0.0, posinf=0.0)
            found[view] = _log(middle * self.group_size**2)
        return np.exp(np.concatenate(list(mean_of_draws(found).values())))

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
        return cut(x, g * self.group_size, (g + 1) * self.group_size)

    def _check_alone(self, view: str, alone: Alone, losses: Tensor, measured: Measured) -> None:
        """Compute three groups without the rest of the batch and compare.

        Raises:
            RuntimeError: naming the view where they differ.
        """
        table, bound = measured
        measure = self.norms_of(without_draw(view))
        rtol = 1e-2 if table.dtype == torch.float32 else 1e-6
        lost = _coarsest(self.model) ** 2  # a layer's share of the gradient that rounding hides
        for g in sorted({0, len(table) // 2, len(table) - 1}):
            start, stop = g * self.group_size, (g + 1) * self.group_size
            group = alone(start, stop)
            own, joint = self._losses(view, group)
            together = losses[start:stop]
            norms = measure(joint)[0]
            wrong_loss = _differ(own, together, rtol, 1e-6)
            noise = torch.maximum(4 * bound[g], lost * table[g].sum())
            wrong_norm = _differ(norms, table[g], rtol, noise)
            if not (wrong_loss.any() or wrong_norm.any()):
                continue
            slack = rtol + 10 * self._sensitivity(view, group, own, norms)
            wrong_loss = _differ(own, together, slack, 1e-6)
            wrong_norm = _differ(norms, table[g], slack, noise)
            if wrong_loss.any() or wrong_norm.any():
                what = "the loss" if wrong_loss.any() else _first_of(measure.names, wrong_norm)
                raise RuntimeError(
                    f"{what} of a sample changes with the rest of its batch"
                    f"{f' (view {view})' if view else ''}: {WHY}"
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
            moved, joint = self._losses(view, nudged(x, draw))
            for new, old in ((moved, losses), (measure(joint)[0], norms)):
                change = ((new - old).detach() / old.detach()).abs().nan_to_num(0.0, posinf=0.0)
                changes.append(float(change.quantile(0.9)) if len(change) else 0.0)
        return max(changes)


@dataclass(frozen=True)
class _Table:
    losses: Array  # (samples,)
    norms: Tensor  # (groups, tensors), squared


def placed(batch: Batch, module: nn.Module) -> Input:
    """Return the data of a batch where a model is."""
    return to_device(batch.x, next(module.parameters()).device)


def _coarsest(module: nn.Module) -> float:
    """Return the largest relative rounding error of the formats of a model's parameters."""
    return max((torch.finfo(kind).eps for kind in number_formats(module)), default=0.0)


def _first_of(names: list[str], wrong: Tensor) -> str:
    return f"the gradient norm of {names[int(wrong.nonzero()[0])]!r}"


def _differ(a: Tensor, b: Tensor, rtol: float, atol: Tensor | float) -> Tensor:
    """Mark where two finite numbers differ; what is not finite cannot be compared."""
    return ((a - b).abs() > rtol * b.abs() + atol) & a.isfinite() & b.isfinite()


def _log(squared: Tensor) -> Array:
    """Take the logarithm, once and for all; an exact zero gives -inf."""
    return squared.double().log().cpu().numpy()
