"""A change of representation moves the likelihood and not its gradient: measured, in float64.

    y = T(x),      l_y(y) = -log p_y(y) = l_x(T^-1(y)) + log |det dT/dx|

The second term has no parameter of the model, so l_x and l_y have the same gradient. The norms of
both are computed here, the latter from y alone; a map with parameters that are trained along is
the control that must fail. Noise that is part of a loss (of a bound, of denoising) is drawn for
x = T^-1(y): added to y, it would make another loss, with other gradients.

References:
    Approximations to the Fisher Information Metric of Deep Generative Models for
    Out-Of-Distribution Detection (Dauncey, Holmes, Williams and Falck, 2024, arXiv 2403.01485)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.fisher.double import in_double
from fimetric.fisher.jacobians import log_det_by_jacrev
from fimetric.fisher.reexpressed import Reexpressed, continuous
from fimetric.fisher.representations import Representation
from fimetric.fisher.stream import refuse_infinite
from fimetric.gradients.engine import Measured
from fimetric.gradients.norms import GradientNorms
from fimetric.objectives import Objective
from fimetric.objectives.reading import read
from fimetric.typing import Array

NORMS = 1e-8  # relative difference that counts as none
ROUND_TRIP = 1e-12  # of data of size 1
LOG_DET = 1e-9  # nats per dimension
POINTS = 5  # samples whose Jacobian is taken


@dataclass(frozen=True, eq=False)
class InvarianceReport:
    """What a change of representation does to an objective and its gradient.

    Arguments:
        transform: T in words.
        kind: of the loss, see ``Objective.kind``.
        names: J layers, those of T itself as ``representation.<name>``.
        differences: (J,) largest difference of a sample's norms in x and in y, relative to the
            larger one (or to their rounding errors times 1e8, where they are smaller than that).
        likelihood_error: largest deviation, in nats, of l_y - l_x from log |det dT/dx| at x (from 0
            for a loss that is no likelihood).
        round_trip: largest |T^-1(T(x)) - x|, relative to the largest |x| if that is above 1.
        log_det_error: largest deviation, in nats, of log |det dT/dx| from ``torch.func.jacrev``.
        bits_change: (N,) log |det dT/dx| in bits per dimension.
        dimension: D of a sample.
        singular, pixels: pixels left as they are because T is singular there, of so many.
        dequantised: whether noise was added to discrete data first.
    """

    transform: str
    kind: str
    names: tuple[str, ...]
    differences: Array
    likelihood_error: float
    round_trip: float
    log_det_error: float
    bits_change: Array
    dimension: int
    singular: int
    pixels: int
    dequantised: bool

    @property
    def worst(self) -> tuple[str, float]:
        """The layer whose norms differ most, and by how much."""
        j = int(self.differences.argmax())
        return self.names[j], float(self.differences[j])

    @property
    def faults(self) -> list[str]:
        """What contradicts invariance, in words; nothing where it holds."""
        layer, difference = self.worst
        allowed = LOG_DET * self.dimension
        judged = (
            (
                difference <= NORMS,
                f"the gradient norms of {layer!r} have a relative difference of {difference:.3g}"
                f"{self._of_the_map(layer)}",
            ),
            (
                self.log_det_error <= allowed,
                f"the log-determinant is {self.log_det_error:.3g} nats off that of the Jacobian",
            ),
            (
                self.likelihood_error <= allowed,
                f"the loss changes by {self.likelihood_error:.3g} nats beside the log-determinant",
            ),
            (
                self.round_trip <= ROUND_TRIP,
                f"the inverse misses x by {self.round_trip:.3g}, more than {ROUND_TRIP:g}",
            ),
        )
        return [fault for fine, fault in judged if not fine]

    @staticmethod
    def _of_the_map(layer: str) -> str:
        if not layer.startswith("representation."):
            return ""
        return ", a trainable parameter of the map: the loss of y depends on it, that of x does not"

    @property
    def holds(self) -> bool:
        """Whether nothing but the likelihood changes, and that by the log-determinant."""
        return not self.faults

    @property
    def why(self) -> str:
        """Why it holds, or does not, in a sentence."""
        if self.faults:
            return f"{self.transform}: not invariant: {'; '.join(self.faults)}."
        said = (
            f"{self.transform}: no norm changes by more than {self.worst[1]:.1e} of its size, "
            "since log |det dT/dx| has no parameter of the model"
        )
        if self.kind == "likelihood":
            return f"{said}."
        noise = "any noise" if self.kind == "loss" else "the noise"
        return f"{said}, and {noise} of this {self.kind} is added in the space of x, not after T."


def invariance_report(
    objective: Objective,
    data: Any,
    transform: Representation,
    samples: int = 32,
    seed: int = 0,
) -> InvarianceReport:
    """Compare losses and gradient norms of samples with those of the same samples as y = T(x).

    All is computed in float64; the model, in whatever format, is left as it is. Discrete data are
    dequantised first, see ``continuous``. The log-determinant is compared with that of the Jacobian
    by ``torch.func.jacrev`` at five samples: pixel after pixel where T maps each by itself, else of
    all dimensions at once, of which there may be 4,096.

    Arguments:
        objective: of x.
        data: whatever ``fimetric.data.batches`` takes; floating-point, in the domain of T.
        transform: T.
        samples: the first so many are taken.
        seed: of the dequantisation.

    Raises:
        ValueError: for empty or non-finite data, data that T does not take (colour maps need three
            channels), or a loss that is not finite, naming the sample.
        TypeError: for data that are no floating-point numbers, such as tokens.
    """
    return invariance_reports(objective, data, [transform], samples, seed)[0]


def invariance_reports(
    objective: Objective,
    data: Any,
    transforms: Sequence[Representation],
    samples: int = 32,
    seed: int = 0,
) -> list[InvarianceReport]:
    """Return a report for each of several T; what is computed of x is computed once.

    See ``invariance_report`` for arguments and errors.
    """
    batch = next(iter(read(objective, data, samples)))
    objective, x, noisy = continuous(objective, batch.x, seed)
    changed = nn.ModuleList(Reexpressed(objective, transform) for transform in transforms)

    def job() -> list[InvarianceReport]:
        here = _Here(objective, x, batch.ids, noisy)
        return [_report(each, here) for each in changed]  # type: ignore[arg-type]

    return in_double(changed, job)


class _Here:
    """Losses and norms of x, by view."""

    @torch.enable_grad()
    def __init__(self, objective: Objective, x: Input, ids: list[str], noisy: bool) -> None:
        self.x, self.ids, self.noisy = x, ids, noisy
        self.norms = GradientNorms(objective.module)
        self.losses, self.measured = {}, {}
        for view in objective.views():
            losses = objective.losses(view, x)
            refuse_infinite(losses, ids, "the loss of sample")
            self.measured[view] = self.norms.measure(losses)
            self.losses[view] = losses.detach()

    def padded(self, view: str, columns: int) -> Measured:
        """Return the norms with columns of zeros for parameters of T, which x knows nothing of."""
        table, bound = self.measured[view]
        more = (0, columns - table.shape[1])
        return Measured(nn.functional.pad(table, more), nn.functional.pad(bound, more))


@torch.enable_grad()
def _report(objective: Reexpressed, here: _Here) -> InvarianceReport:
    values = data_of(here.x)
    with torch.no_grad():
        y, changed = objective.show(here.x)
        back = objective.transform.inverse(changed.y, changed.untouched)
        expected = changed.log_det if objective.changes else torch.zeros_like(changed.log_det)
        jacobians = [log_det_by_jacrev(objective.transform, point) for point in values[:POINTS]]
    norms = GradientNorms(_parameters(objective))
    errors, differences = [], []
    for view, losses in here.losses.items():
        found = objective.losses(view, y)
        refuse_infinite(found, here.ids, "the loss of sample")
        errors.append((found.detach() - losses - expected).abs().max())
        there = norms.measure(found)
        differences.append(_differences(here.padded(view, len(norms.names)), there))
    untouched, D = changed.untouched, values[0].numel()
    return InvarianceReport(
        transform=objective.transform.name,
        kind=objective.kind,
        names=tuple(norms.names),
        differences=torch.stack(differences).amax((0, 1)).cpu().numpy(),
        likelihood_error=float(torch.stack(errors).max()),
        round_trip=float((back - values).abs().max() / values.abs().max().clamp_min(1.0)),
        log_det_error=float((torch.stack(jacobians) - changed.log_det[:POINTS]).abs().max()),
        bits_change=(changed.log_det / (D * math.log(2))).cpu().numpy(),
        dimension=D,
        singular=0 if untouched is None else int(untouched.sum()),
        pixels=values[:, 0].numel(),
        dequantised=here.noisy,
    )


def _differences(a: Measured, b: Measured) -> Tensor:
    """Return |a - b| / max(a, b) of norms (N, J), with regard to their rounding errors.

    Where terms cancel a norm has fewer right digits than it seems to have, and a structural zero
    has none. So the difference is relative to the rounding errors over ``NORMS`` where the norms
    are smaller than that: it exceeds ``NORMS`` only where rounding does not explain it. A norm that
    is not a number agrees with nothing.
    """
    left, right = a.table.sqrt(), b.table.sqrt()
    floor = (a.bound.sqrt() + b.bound.sqrt()) / NORMS
    size = torch.maximum(torch.maximum(left, right), floor)
    difference = (left - right).abs() / size.clamp_min(torch.finfo(size.dtype).tiny)
    return difference.nan_to_num(nan=math.inf)


def _parameters(objective: Reexpressed) -> list[tuple[str, Tensor]]:
    own = [(f"representation.{n}", p) for n, p in objective.transform.named_parameters()]
    return [*objective.module.named_parameters(), *own]
