"""The coverage run as a page to read and as a file to compute with."""

import csv
import io
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import denoisers
import flows
import language
import torch
from goals import goals, most_called
from measure import (
    COUPLED,
    EXACT,
    NOT_BUILT,
    OTHER_SAMPLES,
    REFUSED,
    SAMPLES,
    TIMED_SAMPLES,
    TOLERANCE,
    WRONG,
    Row,
)
from paths import CALLED, FAST, LOOP, UNUSED

from fimetric.gradients.machine import processor

PACKAGES = ("torch", "transformers", "diffusers", "zuko", "normflows", "peft")
WAYS = (FAST, CALLED, LOOP, UNUSED)


def write(rows: Sequence[Row], page: Path, seconds: float) -> None:
    """Write ``page`` and, beside it, a CSV file of the same name."""
    page.write_text(markdown(rows, seconds), encoding="utf-8")
    page.with_suffix(".csv").write_text(as_csv(rows), encoding="utf-8")


def markdown(rows: Sequence[Row], seconds: float) -> str:
    return "\n".join(
        [
            "# What the gradient engine covers",
            "",
            _introduction(rows, seconds),
            "",
            "## Goals",
            "",
            *_table(
                ("goal", "measured", "met"),
                ((g.what, g.measured, "yes" if g.met else "**no**") for g in goals(rows)),
            ),
            "",
            "## Misses",
            "",
            *_misses(rows),
            "",
            "## Operations without a fast rule",
            "",
            "Exact, but called once per sample. A tensor that waits for two counts for both.",
            "",
            *_table(("operation", "tensors", "numbers in them", "rows"), most_called(rows)),
            "",
            "## All rows",
            "",
            *_table(HEADINGS, map(_cells, rows)),
            "",
            "## Left out",
            "",
            *_left_out(),
            "",
        ]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _introduction(rows: Sequence[Row], seconds: float) -> str:
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    tolerances = ", ".join(f"{value:g} in {name}" for name, value in TOLERANCE.items())
    return f"""\
Written by `make coverage-zoo` on {processor()},
{torch.get_num_threads()} thread(s), in {seconds / 60:.0f} minutes; {versions}.

{len(rows)} models with random weights, made as small as they can be. Each one's table of norms is
compared with the loop that runs every sample alone: on the first batch of a plan, on two other
batches of {SAMPLES} samples that reuse it (the first reuse is checked by the engine itself, the
second is not), and on a batch of {OTHER_SAMPLES}. Models and loop run in float64; where a star is
at the *format*, in float32, because the model has an operation without float64 (such as the grouped
product of experts), or because autocast leaves float64 alone. Two squared norms a and b are equal
where |a - b| <= rtol b + bound, with the rounding bound that the engine reports; rtol is
{tolerances}, by the least precise number format in the graph, which is the *format* in the table:
many models compute their norms and rotations in float32 whatever precision they are given. The
*error* is the largest |a - b| / b, without the entries that are rounding noise as a whole.

*Fast*, *called* and *loop* count the tensors that are read by a fast rule, by calling a node once
per sample, and by one backward pass per sample; a tensor used several times counts by its slowest
use, and *unused* ones get no gradient in this batch. All of it is in float32, as in use. *Fast
numbers* is the share of the parameters themselves. *Time* is forward and norms over forward and
backward in float32 on {TIMED_SAMPLES} samples in the steady state, with new data in every round.
**At these sizes it measures the overhead of Python, not arithmetic**: models of useful size are in
[another table](engine-speed.md).

A row is *{EXACT}*, *{REFUSED}* (the engine raised), *{COUPLED}* (the model's own loss of a sample
depends on its batch, so that no gradient of one sample exists; `fimetric.extract` refuses those),
*{NOT_BUILT}* (the model failed before the engine saw it) or *{WRONG}*. All but the first are
misses."""


HEADINGS = (
    *("model", "result", "format", "tensors", *WAYS),
    *("fast numbers", "error", "time"),
)


def _cells(row: Row) -> tuple[object, ...]:
    used = sum(row.numbers.values())
    share = f"{row.numbers[FAST] / used:.0%}" if used and row.status != REFUSED else ""
    ways = [row.tensors[way] if row.status in (EXACT, COUPLED, WRONG) else "" for way in WAYS]
    return (
        f"{row.family}: {row.name}",
        row.status if row.status == EXACT else f"**{row.status}**",
        row.precision + ("*" if row.run_in == "float32" else ""),
        sum(row.tensors.values()),
        *ways,
        share,
        "" if row.error != row.error else f"{row.error:.0e}",
        "" if row.ratio != row.ratio else f"{row.ratio:.2f}",
    )


def _misses(rows: Sequence[Row]) -> list[str]:
    missed = [row for row in rows if row.status != EXACT]
    lines = [
        f"- **{row.family}: {row.name}**, {row.status}: {row.message or f'error {row.error:.1e}'}"
        for row in missed
    ]
    return lines or ["None."]


def _left_out() -> list[str]:
    reasons = {**language.LEFT_OUT, **flows.LEFT_OUT, **denoisers.LEFT_OUT}
    grouped: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        grouped.setdefault(reason, []).append(name)
    return [f"- {', '.join(names)}: {reason}" for reason, names in grouped.items()]


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def as_csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            *("family", "model", "result", "format", "run_in", "tensors", *WAYS),
            *("numbers", "numbers_fast", "numbers_called", "error", "time_ratio"),
            *("operations_called", "message", "notes"),
        ]
    )
    for row in rows:
        ways = [row.tensors[way] for way in WAYS]
        numbers = [sum(row.numbers.values()), row.numbers[FAST], row.numbers[CALLED]]
        writer.writerow(
            [
                *(row.family, row.name, row.status, row.precision, row.run_in),
                sum(row.tensors.values()),
                *(*ways, *numbers, f"{row.error:.3g}", f"{row.ratio:.3g}"),
                *(" ".join(sorted(row.called)), row.message, "; ".join(row.notes)),
            ]
        )
    return out.getvalue()
