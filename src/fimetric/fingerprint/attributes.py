"""What of a model differs, by name: the attributes that a fingerprint hashes, in short."""

import hashlib

from torch import nn

from fimetric.fingerprint.model import Unsteady
from fimetric.fingerprint.model import difference as parts_that_differ
from fimetric.fingerprint.structure import changed, structure

LONGEST = 80  # characters of a value that are kept
NAMED = 3  # attributes at most
REMEDY = (
    "names that begin with an underscore are not compared: give one to what only training writes, "
    "such as a list of losses, or set it as it was"
)
Attributes = dict[str, str]


def attributes(module: nn.Module, unsteady: Unsteady) -> Attributes:
    """Return path -> short text of all that a fingerprint hashes besides tensors."""
    told = structure(module).items()
    return {path: _short(text) for path, text in told if path not in unsteady}


def difference(
    fingerprint: str,
    now: str,
    before: Attributes | None,
    module: nn.Module,
    unsteady: Unsteady,
) -> str:
    """Return in words what differs between two fingerprints, naming attributes and the remedy.

    Arguments:
        fingerprint: that of before.
        now: that of the module.
        before: the attributes of before; None where they were not kept.
        module: as it is now.
        unsteady: what the fingerprints leave out.
    """
    said = f"its fingerprint differs: other {parts_that_differ(fingerprint, now)}"
    if "attributes" not in said:
        return said
    named = "" if before is None else _named(before, attributes(module, unsteady))
    return f"{said}{named}; {REMEDY}"


def _named(before: Attributes, after: Attributes) -> str:
    """Return which attributes differ, with their values before and after."""
    paths = changed(before, after)
    each = [
        f"{path.removeprefix('module.')} was {before.get(path, 'not there')} and is "
        f"{after.get(path, 'not there')}"
        for path in paths[:NAMED]
    ]
    more = [f"{len(paths) - NAMED} more"] if len(paths) > NAMED else []
    return f": {', '.join([*each, *more])}" if paths else ""


def _short(text: str) -> str:
    """Return a text that can be written, a long one by its beginning and a hash."""
    written = text.encode("utf-8", "backslashreplace")
    if len(text) <= LONGEST:
        return written.decode()
    return f"{written.decode()[:LONGEST]}... ({hashlib.sha256(written).hexdigest()[:16]})"
