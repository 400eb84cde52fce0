"""A process that is killed at any one point of its writing, played by an exception."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fimetric.store import files

POINTS = ((files.os, "replace"), (files, "_new"), (files, "_remove"), (files, "_exchange"))


class Killed(BaseException):
    """Stands for a kill: nothing catches it, and nothing is cleaned up after it."""


class Killing:
    """Lets ``at`` - 1 changes of the disk happen; from then on none does."""

    def __init__(self, at: int) -> None:
        self.at, self.done = at, 0

    def wrap(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.done += 1
            if self.done >= self.at:
                raise Killed
            return change(*arguments, **named)

        return wrapped

    def half(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Path, content: Any, *arguments: Any, **named: Any) -> Any:
            self.done += 1
            if self.done >= self.at:
                write(path, content[: len(content) // 2], *arguments, **named)
                raise Killed
            return write(path, content, *arguments, **named)

        return wrapped


@contextmanager
def killing(at: int) -> Iterator[None]:
    """Kill what is in the block at one point of its writing."""
    kill = Killing(at)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in POINTS:
            patch.setattr(owner, name, kill.wrap(getattr(owner, name)))
        for name in ("write_bytes", "write_text"):
            patch.setattr(Path, name, kill.half(getattr(Path, name)))
        yield


def after_kills(call: Callable[[Path], Any], tmp_path: Path, every: int = 1) -> list[Path]:
    """Return the folders of calls killed at each point in turn, and called again."""
    folders = []
    for at in range(1, 10_000, every):
        folder = tmp_path / f"killed-{at}"
        try:
            with killing(at):
                call(folder)
        except Killed:
            call(folder)
            folders.append(folder)
        else:
            return folders
    raise AssertionError("it never came to its end")


def content(folder: Path) -> dict[str, bytes]:
    """Return all files in a folder and below, hidden ones too, and the folders as empty ones."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else b""
        for p in folder.rglob("*")
    }
