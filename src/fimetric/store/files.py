"""Writing files and folders whole or not at all, whenever the process is killed.

What is written grows beside its place, under a name such as ``.a.csv.0f1e2d3c.unfinished.csv``, and
takes the place in one step of the file system. Its writer holds a lock on it, which ends with the
process however that ends; so the next writer, or ``sweep``, tells what a killed process left from
what a living one is at work on, and removes it.
"""

import ctypes
import errno
import glob
import os
import re
import secrets
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fimetric.arguments import folder_of

try:
    import fcntl
except ImportError:  # Windows: no locks, so what killed processes left stays
    fcntl = None  # type: ignore[assignment]

UNFINISHED, REPLACED = "unfinished", "replaced"
OURS = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<kind>unfinished|replaced)(\.[^.]*)?")
FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EPERM, errno.EACCES, errno.EROFS)
EXCHANGE = {"linux": ("renameat2", (-100, -100)), "darwin": ("renamex_np", ())}


class DiskFullError(OSError):
    """What is raised where a disk is full: it names the file and says what to do."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; move it into place when the block succeeds.

    A failure or an interrupt leaves whatever stood at ``path`` as it was.

    Raises:
        DiskFullError: where the disk is full.
    """
    path = Path(path)
    with _growing(path, folder=False) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def whole_folder(
    path: str | Path, overwrite: bool = False, own: Collection[str] = ()
) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it into place when the block succeeds.

    Arguments:
        path: the folder to be written.
        overwrite: whether it may replace another.
        own: names of the files that may be replaced with it, any if empty.

    Raises:
        FileExistsError: where ``path`` exists and ``overwrite`` is False, or holds other files.
        DiskFullError: where the disk is full.
    """
    path = folder_of(path)
    refuse_file(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; pass overwrite=True to replace it")
    refuse_strangers(path, own)
    with _growing(path, folder=True) as temporary:
        yield temporary
        if not path.exists():
            os.replace(temporary, path)
        elif not _exchange(temporary, path):
            _replace_in_two_steps(temporary, path)


def refuse_strangers(path: Path, own: Collection[str]) -> None:
    """Refuse a folder to be replaced that holds files of somebody else's.

    Raises:
        FileExistsError: naming the first of them.
    """
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() and own else []
    strangers = [name for name in names if name not in own]
    if strangers:
        raise FileExistsError(
            f"{path} holds {strangers[0]}{' and more' if len(strangers) > 1 else ''}, which is "
            "nothing that may be replaced; name another folder, or move it away"
        )


def sweep(folder: Path, deep: bool = False) -> None:
    """Remove what killed processes left in a folder, and put back what they had moved away.

    Arguments:
        folder: where they wrote; it need not exist.
        deep: look into all folders in it as well.
    """
    _settle(folder.rglob(".*") if deep else folder.glob(".*"))


@contextmanager
def swept(folder: Path, deep: bool = False) -> Iterator[None]:
    """Sweep a folder before and after the block."""
    sweep(folder, deep)
    try:
        yield
    finally:
        sweep(folder, deep)


def refuse_file(path: Path) -> None:
    """Refuse a file in the place of a folder to be written.

    Raises:
        ValueError: naming the file.
    """
    refuse_long(path)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"{place} is a file; name a folder for the results")


def refuse_long(path: Path) -> None:
    """Raise ValueError for a name without room for the longer one that its content grows under."""
    grows = f".{UNFINISHED}..0f1e2d3c{path.suffix}"
    folder_of(path, "the place of the results", room=len(grows))


def safe_name(name: str) -> str:
    """Return a name that is one folder: hub names have a slash, and may have a colon."""
    return name.replace("/", "-").replace("\\", "-").replace(":", "-")


@contextmanager
def _growing(path: Path, folder: bool) -> Iterator[Path]:
    """Yield a new file or folder beside ``path``, locked; remove it if it is there at the end.

    Raises:
        PermissionError: where ``path`` cannot be written.
        DiskFullError: where the disk is full.
        OSError: any other, as it is, such as one of a file that is read meanwhile.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _settle(path.parent.glob(f".{glob.escape(path.name)}.*"))
        temporary, lock = _new(path, folder)
        try:
            yield temporary
        finally:
            try:
                _remove(temporary)
            finally:
                _close(lock)
    except OSError as error:
        if not _concerns(error, path):
            raise
        if error.errno in DENIED:
            raise PermissionError(
                error.errno, f"{path} cannot be written ({error.strerror}); name another place"
            ) from error
        if error.errno not in FULL:
            raise
        raise DiskFullError(
            error.errno,
            f"the disk is full: {path} was not written, and nothing is half-written; make room "
            "and call again, what was done before is kept",
        ) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Return whether an error is of writing ``path``: it names no file, or one on the way to it."""
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str)]
    target = Path(os.path.realpath(path))
    grows = str(target.parent / f".{target.name}.")
    found = [Path(os.path.realpath(name)) for name in names]
    return not names or any(target.is_relative_to(n) or str(n).startswith(grows) for n in found)


def _beside(path: Path, kind: str) -> Path:
    """Return a new name; it ends as the path does, since writers go by that."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{kind}{path.suffix}")


def _new(path: Path, folder: bool) -> tuple[Path, int | None]:
    """Make a file or folder beside ``path`` and lock it."""
    while True:
        temporary = _beside(path, UNFINISHED)
        if folder:
            temporary.mkdir()
        else:
            temporary.touch(exist_ok=False)
        lock = _lock(temporary, wait=True)
        if temporary.exists():  # not taken for a dead one's before it was locked
            return temporary, lock
        _close(lock)


def _lock(place: Path, wait: bool = False) -> int | None:
    """Return the open file of a lock; None where there can be none, or another one holds it."""
    if fcntl is None:
        return None
    try:
        handle = os.open(place, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def _close(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _settle(found: Iterable[Path]) -> None:
    """Remove what dead processes left; what one had moved away goes back if its place is empty."""
    ours = [(match["kind"], p, match) for p in found if (match := OURS.fullmatch(p.name))]
    for kind, left, match in sorted(ours, key=lambda each: each[:2]):  # what goes back is first
        lock = _lock(left)
        if lock is None:
            continue
        try:
            place = left.with_name(match["name"])
            if kind == REPLACED and not place.exists():
                os.replace(left, place)
            else:
                _remove(left)
        except PermissionError:
            pass  # of a folder that this process may not write to
        finally:
            _close(lock)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _exchange(a: Path, b: Path) -> bool:
    """Let two folders change places in one step; return whether the system can."""
    name, places = EXCHANGE.get(sys.platform, ("", ()))
    function = getattr(ctypes.CDLL(None), name, None) if name else None
    if function is None:
        return False
    first, second = os.fsencode(a), os.fsencode(b)
    if places:
        return function(places[0], first, places[1], second, 2) == 0
    return function(first, second, 2) == 0


def _replace_in_two_steps(temporary: Path, path: Path) -> None:
    """Move ``path`` away and a new folder to its place, for systems that know no exchange.

    Killed in between, the next sweep or writer moves back what was moved away.
    """
    lock, old = _lock(path), _beside(path, REPLACED)
    try:
        os.replace(path, old)
        os.replace(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        _close(lock)
