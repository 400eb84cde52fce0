"""What is asked of a model besides where it lies, and what is remembered of how it was opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from fimetric.objectives.base import Objective

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Request:
    """The arguments of ``from_pretrained`` besides the source, as they are documented there."""

    timesteps: Sequence[int] | None = None
    draws: int = 1
    seed: int = 0
    device: str = "cpu"
    parameters: str | Sequence[str] | None = None
    dtype: str | torch.dtype | None = None
    condition: str | None = None
    window: int | None = None
    positions: int | None = None
    base: str | Path | None = None
    revision: str | None = None
    trust_remote_code: bool = False

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, without what was left as it is by default."""
        each = ((field.name, getattr(self, field.name), field.default) for field in fields(self))
        return {name: value for name, value, default in each if value != default}

    def refuse_others(self, takes: frozenset[str], what: str) -> None:
        """Refuse what does not concern a kind of model, so that nothing is swallowed.

        Raises:
            ValueError: naming the arguments, and those that do concern it.
        """
        others = sorted(self.asked().keys() - takes - COMMON)
        if others:
            said = ", ".join(f"{name}={getattr(self, name)!r}" for name in others)
            raise ValueError(
                f"{said} does not concern {what}, which takes {', '.join(sorted(takes | COMMON))}; "
                "leave it out"
            )


def format_named(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Return a number format by its name, None for None.

    Raises:
        ValueError: for what is no floating-point format of torch.
    """
    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.")
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype must be float32, bfloat16, float16 or float64, not {name!r}")
    return found


COMMON = frozenset(("seed", "device", "parameters"))
"""What concerns every model."""


@dataclass(frozen=True)
class Found:
    """A model where it lies on this machine.

    Arguments:
        path: its folder or file.
        said: what the user called it, for messages.
        commit: of a model of the hub.
    """

    path: Path
    said: str
    commit: str | None = None


@dataclass(frozen=True)
class Loader:
    """One way to open models: a row of the table in ``fimetric.objectives.pretrained``.

    Arguments:
        kind: its name, in files and in messages.
        words: what it opens.
        takes: names of the arguments that concern it, besides ``COMMON``.
        recognises: whether a folder or file is of this kind, told by its names and its JSON alone.
        open: makes the objective. It moves the model to ``request.device``, sets evaluation mode,
            and leaves the choice of ``parameters`` to ``from_pretrained``. With it comes the shape
            of the samples that it takes, such as (3, 32, 32); None where any will do, or where
            they are no arrays.
        code: whether opening it runs code of somebody's own.
        complete: what is asked, with what the folder itself says where it was left out, so that
            it is remembered too.
    """

    kind: str
    words: str
    takes: frozenset[str]
    recognises: Callable[[Path], bool]
    open: Callable[[Found, Request], tuple[Objective, Shape | None]]
    code: bool = False
    complete: Callable[[Found, Request], Request] = lambda found, request: request


@dataclass(frozen=True)
class Opened:
    """How an objective was opened, so that a detector can open it again.

    Arguments:
        kind: name of the loader.
        source: the folder or file, absolute; the name on the hub; or ``file.py:function``.
        commit: of a model of the hub.
        asked: the request, without what is left as it is by default, as values for JSON.
        shape: of the samples that it takes, where it says.
        code: whether opening it again runs code of somebody's own.
    """

    kind: str
    source: str
    commit: str | None
    asked: dict[str, Any]
    shape: Shape | None
    code: bool
