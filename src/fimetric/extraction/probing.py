"""Probes made and compared: losses of made-up rows, computed by an objective."""

import logging
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fimetric.data import to_device
from fimetric.data.batch import Input
from fimetric.data.codes import signature
from fimetric.extraction.reference import cut
from fimetric.features.probe import Entry, Probe
from fimetric.features.table import CODE
from fimetric.gradients.precision import full_precision, without_autocast
from fimetric.objectives.base import Objective

logger = logging.getLogger(__name__)

ROWS = 4
LEAST_TOLERANCE = 1e-5  # for rounding on another machine, where none is seen here
MARGIN = 10.0  # times the rounding that is seen here
MOST = 1 << 28  # numbers in the rows; more is no sample, but a damaged file
BLIND = 1e-2  # a tolerance from which on another loss may pass


def make_probe(objective: Objective, like: Input, parts: Sequence[str] = ()) -> Probe | None:
    """Return the probe of an objective for data like a batch.

    Arguments:
        objective: whose losses are kept.
        like: a batch of the data, told by shapes, number formats and ranges alone.
        parts: of the losses, by name: of code lengths among them, the libraries are kept.

    Returns:
        None where losses of made-up rows cannot be computed and the objective has a ``name``.

    Raises:
        ValueError: where they cannot be computed and it has none, saying what to do.
    """
    entries = tuple(_entries(like))
    try:
        rows = rows_of(entries)
        losses = _losses(objective, rows)
        if not losses.isfinite().all():
            raise ValueError("they are not finite")
    except Exception as error:  # whatever a model raises on rows that it cannot take
        if objective.name is not None:
            return None
        raise ValueError(
            f"the losses of made-up rows of the data's shape and range cannot be computed "
            f"({' '.join(str(error).split())}). They are how a changed loss is told, so give "
            "this one a name that you change whenever the loss changes: "
            "objective.name = 'my loss, version 1'"
        ) from error
    tolerance = max(LEAST_TOLERANCE, MARGIN * _rounding(objective, rows, losses))
    _warn_if_blind(losses, tolerance)
    coded = any(name.startswith(CODE) for name in parts)
    codes = {n: size for n, size in signature().items() if f"{CODE}{n}" in parts} if coded else {}
    return Probe(entries, tuple(map(tuple, losses.tolist())), tolerance, codes)


def _warn_if_blind(losses: Tensor, tolerance: float) -> None:
    """Log where another loss may pass for this one."""
    remedy = "give it a name (objective.name) and change it with the loss"
    if tolerance > BLIND:
        logger.warning(
            "rounding moves this loss by %.1g of its size, so a change of the loss below %.1g is "
            "not seen when a detector is opened; %s",
            tolerance / MARGIN,
            tolerance,
            remedy,
        )
    largest = float(losses.abs().max())
    if largest < tolerance:
        logger.warning(
            "the losses of made-up rows are at most %.1g in size, and a change below %.1g is not "
            "seen when a detector is opened, so any loss as small passes for this one; make it "
            "larger (a sum over pixels in place of a mean, say), or %s",
            largest,
            tolerance,
            remedy,
        )


def difference(probe: Probe | None, objective: Objective) -> str:
    """Return in words how an objective's losses differ from a probe's; empty where they agree."""
    if probe is None:
        return ""
    if codes := _codes_differ(probe):
        return codes
    try:
        losses = _losses(objective, rows_of(probe.entries)).numpy()
    except Exception as error:  # whatever a model raises on rows that it cannot take
        return f"it cannot compute the loss of made-up rows that was kept ({error})"
    kept = probe.losses
    if losses.shape != (len(kept), len(kept[0])):
        return f"it has {losses.shape[1]} views, and had {len(kept[0])}"
    far = probe.far_from(losses)
    if not far.any():
        return ""
    row, view = (int(place[0]) for place in far.nonzero())
    return (
        f"its loss of made-up row {row} is {losses[row, view]:.8g}, and was {kept[row][view]:.8g}"
    )


def _codes_differ(probe: Probe) -> str:
    """Return in words which compressor is another than a probe's; empty where none is."""
    now = signature() if probe.codes else {}
    for name, size in probe.codes.items():
        if now.get(name) != size:
            found = f"takes {now[name]}" if name in now else "is not here"
            return (
                f"code lengths are those of another library: of a fixed picture {CODE}{name} took "
                f"{size} bytes and now {found}"
            )
    return ""


@torch.enable_grad()  # some losses differentiate
def _losses(objective: Objective, rows: Input) -> Tensor:
    """Return the losses (4, V) of rows in float64 on the CPU, without TF32."""
    device = next(objective.module.parameters()).device
    rows = to_device(rows, device)
    with full_precision(), without_autocast(device):
        found = [objective.losses(view, rows).detach() for view in objective.views()]
    return torch.stack([x.double().cpu() for x in found], 1)


def _rounding(objective: Objective, rows: Input, losses: Tensor) -> float:
    """Return the largest relative change of the losses, one by one or moved by one last place."""
    alone = [_losses(objective, cut(rows, i, i + 1)) for i in range(ROWS)]
    moved = _losses(objective, _next_after(rows))
    changes = [(found - losses).abs() for found in (torch.cat(alone), moved)]
    return float((torch.stack(changes) / losses.abs().clamp_min(1)).nan_to_num(0.0).max())


def _next_after(rows: Input) -> Input:
    if isinstance(rows, dict):
        return {key: _next_after(x) for key, x in rows.items()}  # type: ignore[misc]
    if not rows.is_floating_point():
        return rows
    return torch.nextafter(rows, torch.full_like(rows, torch.inf))


def _entries(like: Input) -> Iterator[Entry]:
    for key, x in (like if isinstance(like, dict) else {"": like}).items():
        yield Entry(key, tuple(x.shape[1:]), str(x.dtype).removeprefix("torch."), *_range(key, x))


def _range(key: str, x: Tensor) -> tuple[float, float]:
    """Return the range that rows are drawn from: one that does not hang on which data came."""
    if x.dtype == torch.bool or key == "attention_mask" or not x.numel():
        return 1.0, 2.0
    low, high = float(x.min()), float(x.max())
    if not x.is_floating_point():
        return low, high + 1
    size = 1.0 if max(-low, high) <= 1 else 2.0  # as standardised data have it
    return (0.0 if low >= 0 else -size), size


def rows_of(entries: tuple[Entry, ...]) -> Input:
    """Return the made-up rows, the same ones in every process.

    Raises:
        ValueError: where what a file says of them makes no rows.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = {entry.key: _draw(entry, generator) for entry in entries}
    return drawn[""] if list(drawn) == [""] else drawn


def _draw(entry: Entry, generator: torch.Generator) -> Tensor:
    kind = getattr(torch, entry.kind, None)
    numbers = ROWS * math.prod(entry.shape)
    if not isinstance(kind, torch.dtype) or min(entry.shape, default=0) < 0 or numbers > MOST:
        raise ValueError(f"no rows of shape {entry.shape} and kind {entry.kind} can be made")
    if entry.key == "position_ids":
        return torch.arange(entry.shape[-1]).to(kind).expand(ROWS, *entry.shape).contiguous()
    unit = torch.rand(ROWS, *entry.shape, generator=generator, dtype=torch.float64)
    value = entry.low + (entry.high - entry.low) * unit
    return (value if kind.is_floating_point else value.floor()).to(kind)
