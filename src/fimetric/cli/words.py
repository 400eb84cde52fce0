"""What an error calls the options of a command: as they are typed, not as Python takes them."""

import re
from collections.abc import Collection
from dataclasses import fields

from fimetric.cli.options import Part

OF_DATA = [field.name for field in fields(Part)]  # arguments of ``load``, whose errors name them
VALUE = r"""('[^']*'|"[^"]*"|[\w.]+)?"""


def as_typed(message: str, options: Collection[str]) -> str:
    """Return an error in which arguments of ``load`` are called as a command takes them.

    Arguments:
        message: what the error says.
        options: the names of those that the command has; others are left as they are.

    Example:
        >>> as_typed("as load(..., rate=8000) does; name it by column='title'", ["rate", "column"])
        "as --rate 8000 does; name it by --column 'title'"
    """
    names = "|".join(name for name in OF_DATA if name in options)
    if not names:
        return message
    message = re.sub(rf"load\(\.\.\., ((?:{names})={VALUE})\)", r"\1", message)
    return re.sub(rf"(?<![\w.-])({names})={VALUE}", _typed, message)


def _typed(found: re.Match[str]) -> str:
    name, value = found.groups()
    return f"--{name}" if value is None else f"--{name} {value}"
