"""A model looked at before it is used, as a table on the screen."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fimetric.cli.gathering import gathered
from fimetric.cli.options import DATA_HELP, Asked, Part
from fimetric.data import Samples
from fimetric.detection.inspection import Inspection
from fimetric.objectives import Objective
from fimetric.objectives.pretrained import words_of

SHOWN = 4  # names of columns


@gathered
def inspect(
    asked: Asked,
    part: Part,
    data: Annotated[
        str | None, typer.Option(help=f"Measure the first samples of them. {DATA_HELP}")
    ] = None,
) -> None:
    """Say what a model is to a detector: loss, columns, parameters, cost of a sample, warnings."""
    from fimetric.detection.inspection import inspect as run

    with heard() as messages:
        objective = asked.objective()
        shape = objective.opened.shape
        named = part.named(objective.condition)
        samples = None if data is None else named.open(data, shape)
        found = run(objective, samples, shape)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in _rows(objective, found, samples, messages):
        table.add_row(Text(name, style="bold"), Text(said))
    Console().print(table)


def _rows(
    objective: Objective, found: Inspection, samples: Samples | None, messages: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield what is shown: a heading and a text each."""
    opened = objective.opened
    yield "Model", f"{found.model} in {type(objective).__name__}, opened as {words_of(opened.kind)}"
    yield "Source", opened.source + (f" at commit {opened.commit}" if opened.commit else "")
    if opened.shape is not None:
        yield "Samples", f"of shape {opened.shape}"
    yield "Loss", f"{found.kind}: {found.loss}"
    yield "Columns", _columns(found)
    yield (
        "Parameters",
        f"{found.parameters:,}, of which {found.differentiated:,} are differentiated",
    )
    if found.cost is not None:
        yield "Cost", _cost(found)
    if found.cost is not None and samples is not None:
        whole = _span(found.cost.of(len(samples)))
        yield "Time", f"{whole} to fit on the {len(samples):,} samples, or to score them"
    for k, remark in enumerate((*found.remarks, *messages)):
        yield "" if k else "To know", f"- {remark}"


def _columns(found: Inspection) -> str:
    names = ", ".join(found.columns[:SHOWN]) + ", ..." * (len(found.columns) > SHOWN)
    views = [view for view in found.views if view]
    of = f" of {len(views)} views ({', '.join(views)})" if len(views) > 1 else ""
    return f"{len(found.columns):,}{of}: {names}"


def _cost(found: Inspection) -> str:
    cost = found.cost
    assert cost is not None
    kind = "made-up samples" if found.made_up else "samples"
    return (
        f"{_span(cost.seconds)} a sample, measured on {cost.samples} {kind}; up to "
        f"{cost.batch_size} to a forward pass"
    )


def _span(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> [_span(s) for s in (0.0123, 4.56, 200, 9000)]
        ['12 ms', '4.6 s', '3.3 min', '2.5 h']
    """
    units = (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3))
    unit, size = next((each for each in units if seconds >= each[1]), units[-1])
    number = seconds / size
    return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what is logged meanwhile, in place of printing it."""
    logger, messages = logging.getLogger("fimetric"), _Messages()
    before, logger.handlers = logger.handlers, [messages]
    try:
        yield messages.said
    finally:
        logger.handlers = before


class _Messages(logging.Handler):
    """Keeps each message once."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (text := record.getMessage()) not in self.said:
            self.said.append(text)
