"""One way to show how far long work is, and how long it will take."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress(what: str, total: int | None, show: bool = True) -> Iterator["Bar"]:
    """Show a progress bar on standard error while the block runs, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    disable = not (show and console.is_terminal)
    with Progress(*columns, console=console, disable=disable, transient=True) as shown:
        yield Bar(shown, shown.add_task(what, total=total))


class Bar:
    """A progress bar that can be advanced."""

    def __init__(self, shown: Progress, task: TaskID) -> None:
        self._shown, self._task = shown, task

    def advance(self, count: int) -> None:
        """Say that ``count`` more are done."""
        self._shown.advance(self._task, count)
