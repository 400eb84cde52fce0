"""What outlives a process: small files in the user's cache folder, or in ``FIMETRIC_CACHE``.

A file that is damaged, of another version, or cannot be written is no loss: what it told is found
out again.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import TypeVar

import msgspec
import platformdirs

from fimetric.store import archive
from fimetric.store.files import whole_file

logger = logging.getLogger("fimetric")

FOLDER = "FIMETRIC_CACHE"
Content = TypeVar("Content", bound=msgspec.Struct)


def folder() -> Path | None:
    """Return where the files are, None where ``FIMETRIC_CACHE`` is empty."""
    chosen = os.environ.get(FOLDER)
    if chosen is None:
        return platformdirs.user_cache_path("fimetric")
    return Path(chosen) if chosen else None


def form(name: str, version: int, told: str, content: type[Content]) -> archive.Kind[Content]:
    """Return the kind of file that holds what is known of something.

    Arguments:
        name: of all files of its kind.
        version: of the content, and of what follows from it.
        told: what tells the something from others.
        content: struct of what the file holds.
    """
    digest = hashlib.sha256(f"{version} {told}".encode()).hexdigest()[:40]
    return archive.Kind(f"{name}-{digest}", version, content, "delete it")


def recall(form: archive.Kind[Content]) -> Content | None:
    """Return what an earlier process has kept."""
    place = folder()
    if place is None:
        return None
    try:
        return form.read(place)[0]
    except (OSError, ValueError) as error:
        logger.debug("nothing kept in %s: %s", place, error)
        return None


def keep(form: archive.Kind[Content], content: Content | None) -> None:
    """Keep something for later processes, where it can be written; None forgets what was kept."""
    place = folder()
    if place is None:
        return
    path = place / f"{form.name}.json"
    try:
        if content is None:
            path.unlink(missing_ok=True)
            return
        place.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            unfinished.write_bytes(form.encode(content))
    except OSError as error:
        logger.debug("%s cannot be written: %s", path, error)
