"""What becomes of the names of files: their order, and ids that can be written anywhere."""

import re
from collections.abc import Sequence
from pathlib import PurePath

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def natural(path: PurePath) -> list[list[tuple[int, int, str]]]:
    """Return a key that sorts paths as a person would, ``f2`` before ``f10``, folder by folder.

    The suffix is compared last, so that ``f.png`` goes before ``f2.png``.

    Example:
        >>> sorted(map(PurePath, ["f10.png", "f2.png", "a/z1.png"]), key=natural)[1].name
        'f2.png'
    """
    return [_pieces(part) for part in (*path.parent.parts, path.stem, path.suffix)]


def _pieces(name: str) -> list[tuple[int, int, str]]:
    """Return the runs of digits and of other characters, numbers before words."""
    runs = [run for run in re.split("([0-9]+)", name) if run]
    return [(0, int(run), run) if run[0] in "0123456789" else (1, 0, run) for run in runs]


def printable(name: object) -> str:
    r"""Return a name as text that is valid UTF-8 on one line, odd bytes as ``\xff``.

    Example:
        >>> printable("a\udcffb")
        'a\\xffb'
    """
    return UNPRINTABLE.sub(_escape, str(name))


def called(own: object, name: str, number: int) -> str:
    """Return the name of a sample: its own, or where it has none its number in a data set.

    Example:
        >>> called("cat.wav", "sounds", 3), called(None, "sounds", 3), called("", "sounds", 3)
        ('cat.wav', 'sounds/3', 'sounds/3')
    """
    return f"{name}/{number}" if own in (None, "") else printable(own)


def first_few(names: Sequence[str], more: str, most: int = 5) -> str:
    """Return the first names in a row, and how many more there are.

    Example:
        >>> first_few(["a", "b", "c", "d"], "files", 2)
        'a, b and 2 more files'
    """
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more {more}" if left > 0 else "")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # how Python keeps an odd byte
    return f"\\x{byte:02x}" if byte < 256 else f"\\u{byte:04x}"
