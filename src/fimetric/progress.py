"""One way to show how far long work is, and how long it will take."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress(
    what: str, total: int | None, show: bool = True, done: int = 0
) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error while the block runs, where that is a terminal.

    Arguments:
        what: what is being done.
        total: steps or samples in all, None where that is not known.
        show: whether to show anything.
        done: how many are done already.

    Yields:
        a function (count, note) that moves the bar on and shows a note beside it.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    disable = not (show and console.is_terminal)
    with Progress(*columns, console=console, disable=disable, transient=True) as shown:
        task = shown.add_task(what, total=total, completed=done, note="")

        def advance(count: int, note: str = "") -> None:
            shown.update(task, advance=count, note=note)

        yield advance
