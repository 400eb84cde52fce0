"""One case through the engine: exact or not, by which path, and how fast."""

import logging
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from case import Batch, Case, Model, alone, convert, converted
from paths import UNUSED, Path, paths
from torch import Tensor

from fimetric.gradients import GradientNorms
from fimetric.gradients.checks import coarsest_eps
from fimetric.gradients.contributions import squared_norms
from fimetric.gradients.graph import read_graph
from fimetric.gradients.reference import (
    gradients_one_by_one,
    hidden_gradient_of_one,
    squared_gradient_norms,
)

SAMPLES, OTHER_SAMPLES, TIMED_SAMPLES = 4, 3, 8
REPEATS = 3

EXACT, WRONG, REFUSED = "exact", "WRONG", "refused"
COUPLED, NOT_BUILT = "coupled", "not built"

# The least precise number format of the graph -> tolerance of squared norms. Models that compute
# norms or rotations in float32 inside do so in every precision.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 5e-2}


@dataclass
class Row:
    """What the table says about one case."""

    family: str
    name: str
    status: str = NOT_BUILT
    message: str = ""
    precision: str = ""  # the least precise number format of the graph
    run_in: str = ""  # the format of the parameters
    tensors: Counter[str] = field(default_factory=Counter)  # path -> tensors
    numbers: Counter[str] = field(default_factory=Counter)  # path -> numbers in them
    called: Counter[str] = field(default_factory=Counter)  # operation -> tensors that wait for it
    called_numbers: Counter[str] = field(default_factory=Counter)
    error: float = float("nan")  # relative, worst of all samples, tensors and batches
    ratio: float = float("nan")  # of an ordinary forward and backward pass
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def measure(case: Case, timed: bool = True) -> Row:
    """Take one case through the engine; whatever goes wrong is what the row says."""
    row, start = Row(case.family, case.name), time.perf_counter()
    with _Warnings(row.notes):
        _fill(row, case, timed)
    row.seconds = time.perf_counter() - start
    return row


def _fill(row: Row, case: Case, timed: bool) -> None:
    try:
        model, dtype = _built(case)
    except Exception as error:
        row.message = _said(error)
        return
    _count(row, {name: Path("refused") for name in GradientNorms(model.module).names}, model)
    try:
        row.precision, row.run_in = _precision(model, dtype), str(dtype).removeprefix("torch.")
        row.error = _worst_error(model, dtype, row.precision)
        _count(row, _paths(case), model)
        row.status = EXACT if row.error <= TOLERANCE[row.precision] else WRONG
        row.message = _coupling(model, dtype, row.precision)
        row.status = COUPLED if row.message else row.status
        row.ratio = _ratio(case) if timed else row.ratio
    except Exception as error:
        row.status, row.message = REFUSED, _said(error)


def _built(case: Case) -> tuple[Model, torch.dtype]:
    """Build the model in float64, in float32 where it cannot or should not run in float64."""
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(0)
        model = case.make()
        if dtype == torch.float64 and not model.precise:
            continue
        convert(model.module, dtype)
        try:
            losses = model.losses(converted(model.draw(SAMPLES), dtype))
            if losses.shape != (SAMPLES,) or not losses.isfinite().all():
                raise RuntimeError(f"the losses are {losses.tolist()}")
        except RuntimeError:
            if dtype == torch.float32:
                raise
            continue
        return model, dtype
    raise AssertionError("unreachable")


def _precision(model: Model, dtype: torch.dtype) -> str:
    """Return the name of the least precise number format of the graph."""
    parameters = list(model.module.parameters())
    graph = read_graph(model.losses(converted(model.draw(SAMPLES), dtype)), parameters)
    eps = coarsest_eps(graph, parameters)
    return next(name for name in TOLERANCE if eps <= torch.finfo(getattr(torch, name)).eps)


def _worst_error(model: Model, dtype: torch.dtype, precision: str) -> float:
    """Compare with the loop: a new plan, the plan reused on other data, and another batch size.

    The loop calls backward(), which sees parameters that the graph hides from autograd.grad().
    """
    norms = GradientNorms(model.module)
    sizes = (SAMPLES, SAMPLES, SAMPLES, OTHER_SAMPLES)
    batches = [converted(model.draw(n), dtype) for n in sizes]
    # The first reuse of a plan is checked against autograd, the second one is not.
    tables = [norms(model.losses(batch)) for batch in batches]
    worst, rtol = 0.0, TOLERANCE[precision]
    for batch, table in zip(batches, tables, strict=True):
        expected = squared_gradient_norms(
            model.losses, alone(batch), norms._engine.parameters, hidden_gradient_of_one
        )
        error = relative_error(table, expected, torch.zeros_like(table), rtol)
        if error > rtol:  # the bound costs as much as a new plan
            bound = norms.measure(model.losses(batch)).bound
            noise = _noise(model.losses(batch), norms, table, expected, bound, precision)
            error = relative_error(table, expected, bound.where(~noise, torch.inf), rtol)
        worst = max(worst, error)
    return worst


def _noise(
    losses: Tensor,
    norms: GradientNorms,
    table: Tensor,
    expected: Tensor,
    bound: Tensor,
    precision: str,
) -> Tensor:
    """Mark entries that are noise already in what arrives at the tensor's uses.

    The engine's bound knows of cancelling at the tensor itself only. The router of experts whose
    weights add up to one, say, receives nothing but rounding noise, and plain autograd gives other
    noise in another batch. Noise must be below the rounding of the sample's whole gradient, and
    the engine must still agree with plain autograd on the same graph.
    """
    gradients = gradients_one_by_one(losses, norms._engine.parameters, hidden_gradient_of_one)
    same = torch.stack(
        [expected[:, 0] * 0 if g is None else squared_norms(g) for g in gradients], 1
    )
    whole = expected.sum(1, keepdim=True).sqrt()
    limit = (1024 * torch.finfo(getattr(torch, precision)).eps * whole) ** 2
    agrees = (table - same).abs() <= TOLERANCE[precision] * same + bound
    return agrees & (torch.maximum(table, expected) <= limit)


def _coupling(model: Model, dtype: torch.dtype, precision: str) -> str:
    """Say where the loss itself differs between a sample alone and in a batch, else nothing.

    No engine can be exact there, as no gradient of one sample exists; ``fimetric.extract``
    compares the losses of samples with and without their batch, and refuses.
    """
    batch = converted(model.draw(SAMPLES), dtype)
    together = model.losses(batch).detach()
    apart = torch.cat([model.losses(sample).detach() for sample in alone(batch)])
    worst = float(((together - apart).abs() / apart.abs()).max())
    if worst <= max(1e-6, 10 * TOLERANCE[precision]):
        return ""
    return f"the loss of a sample depends on its batch, by up to {worst:.0e} of its size"


def relative_error(table: Tensor, expected: Tensor, bound: Tensor, rtol: float) -> float:
    """Return the largest |a - b| / b, leaving out entries that are noise as a whole.

    Those are within the rounding bound, where the bound is not small beside the entry itself.
    """
    table, expected = table.double(), expected.double()
    difference = (table - expected).abs()
    noise = (difference <= bound) & (rtol * expected <= bound)
    error = torch.where(noise | (difference == 0), 0.0, difference / expected)
    return float(torch.where(table.isfinite() & expected.isfinite(), error, torch.inf).max())


def _paths(case: Case) -> dict[str, Path]:
    """Take the paths in float32, for which some kernels exist that float64 does not have."""
    torch.manual_seed(0)
    model = case.make()
    return paths(GradientNorms(model.module), model.losses(model.draw(SAMPLES)))


def _count(row: Row, found: dict[str, Path], model: Model) -> None:
    parameters = dict(model.module.named_parameters())
    row.tensors, row.numbers = Counter(), Counter()
    for name, path in found.items():
        row.tensors[path.way] += 1
        row.numbers[path.way] += parameters[name].numel() if path.way != UNUSED else 0
        for operation in path.operations:
            row.called[operation] += 1
            row.called_numbers[operation] += parameters[name].numel()


def _ratio(case: Case) -> float:
    """Return the time of forward and norms over that of forward and backward, in float32.

    Every round has new data, so a plan that holds for one batch only is paid for each time.
    """
    torch.manual_seed(0)
    model = case.make()
    norms = GradientNorms(model.module)

    def step(batch: Batch) -> None:
        model.module.zero_grad(set_to_none=True)
        model.losses(batch).sum().backward()

    def engine(batch: Batch) -> None:
        norms(model.losses(batch))

    rounds = []
    for k in range(REPEATS + 2):  # plan, first reuse of it, then the steady state
        batch = model.draw(TIMED_SAMPLES)
        ordinary, ours = _seconds(step, batch), _seconds(engine, batch)
        rounds += [ours / ordinary] if k > 1 else []
    return statistics.median(rounds)


def _seconds(work: Callable[[Batch], None], batch: Batch) -> float:
    start = time.perf_counter()
    work(batch)
    return time.perf_counter() - start


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


class _Warnings(logging.Handler):
    """Collects the engine's warnings while the block runs."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.notes, self.logger = notes, logging.getLogger("fimetric")

    def __enter__(self) -> None:
        self.propagates, self.logger.propagate = self.logger.propagate, False
        self.logger.addHandler(self)

    def __exit__(self, *error: object) -> None:
        self.logger.removeHandler(self)
        self.logger.propagate = self.propagates

    def emit(self, record: logging.LogRecord) -> None:
        message = " ".join(record.getMessage().split())
        if message not in self.notes:
            self.notes.append(message)
