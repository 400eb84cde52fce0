"""Arguments of public calls, refused by name where they are something else."""

import errno
import math
import operator
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from fimetric.typing import Array

Made = TypeVar("Made")


def made(cls: type[Made], table: Mapping[str, Any], what: str) -> Made:
    """Return a dataclass made of a table of its fields, of the types that they have.

    Raises:
        ValueError: for a field that it does not have, one that is missing, or a value of another
            type, beginning with ``what`` is made.
    """
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ValueError(f"{what} has no setting {key!r}; there are {', '.join(known)}")
    try:
        return msgspec.convert(dict(table), cls)
    except msgspec.ValidationError as error:
        raise ValueError(f"{what}: {error}") from error


def whole(name: str, value: Any, least: float = 1) -> int:
    """Return a whole number, whoever's type it is.

    Raises:
        TypeError: for anything else.
        ValueError: for one that is too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {shown(value)}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def seed_of(seed: Any) -> int:
    """Return the seed of random numbers, as torch and numpy both take it.

    Raises:
        TypeError: for no whole number.
        ValueError: for a negative one, or one of more than 63 bits.
    """
    number = whole("seed", seed, -math.inf)
    if not 0 <= number < 2**63:
        raise ValueError(f"seed must be from 0 to 2^63 - 1, not {number}")
    return number


def whole_or_none(name: str, value: Any, least: float = 1) -> int | None:
    """Return a whole number, or None; see ``whole``."""
    return None if value is None else whole(name, value, least)


def yes_or_no(name: str, value: Any) -> bool:
    """Return True or False.

    Raises:
        TypeError: for anything else, which might be meant as either.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def listed(name: str, value: Any, example: str) -> tuple[Any, ...]:
    """Return what an argument lists, as a tuple.

    Raises:
        TypeError: for what is no list, such as a single number or a string.
    """
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a list, such as {example}, not {shown(value)}")
    return tuple(value)


def folder_of(value: Any, name: str = "folder", room: int = 0) -> Path:
    """Return a path, which may lead nowhere, with room for so many more characters in its name.

    Raises:
        TypeError: for what is no path.
        ValueError: for a name that no file or folder can have.
    """
    if not isinstance(value, str | Path):
        raise TypeError(f"{name} must be a path, not {shown(value)}")
    text = str(value)
    if not text:
        raise ValueError(f"{name} is an empty name; for the current folder give '.'")
    if "\0" in text:
        raise ValueError(f"{name} {_shortened(text)} has a NUL character, as no name may; mend it")
    path = Path(value)
    try:
        path.with_name(path.name + room * "-").lstat() if room and path.name else path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(
                f"{name} {_shortened(text)} has {len(text)} characters, too long for the name of a "
                f"file or folder{f' and {room} more beside it' if room else ''}; give a shorter one"
            ) from error
    return path


def _shortened(text: str) -> str:
    return f"{text[:40]!r}{'...' if len(text) > 40 else ''}"


def real(name: str, value: Any) -> float:
    """Return a number.

    Raises:
        TypeError: for anything else, text among it.
    """
    if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    return float(value)


def numbers(name: str, values: Any) -> Array:
    """Return numbers of whatever type as an array.

    Raises:
        TypeError: where they are no numbers.
    """
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be numbers, not {shown(values)}") from None


def shown(value: Any) -> str:
    """Return a value in few words."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape"):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"
