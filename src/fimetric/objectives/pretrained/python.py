"""Objectives that a function of a user's own file returns: the one way in which code runs."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakSet

from fimetric.arguments import shown
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained.request import Found, Loader, Request

_RAN: WeakSet[ModuleType] = WeakSet()  # modules of users' files


def split(source: str) -> tuple[Path, str] | None:
    """Return file and function of a source such as ``flow.py:objective``; None for another."""
    file, colon, name = source.rpartition(":")
    return (Path(file), name) if colon and file.endswith(".py") else None


def refuse_nameless(source: str | Path) -> None:
    """Refuse a Python file without the name of a function.

    Raises:
        ValueError: saying how it is given.
    """
    if str(source).endswith(".py") and not Path(source).is_dir():
        raise ValueError(
            f"{source} is a Python file; say which of its functions returns the objective, as "
            "FILE.py:FUNCTION"
        )


def _open(found: Found, request: Request) -> tuple[Objective, None]:
    """Run the file, and return what its function returns.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it has no such function, or one with arguments, or one that fails.
        TypeError: where it returns no objective.
    """
    parts = split(found.said)
    assert parts is not None
    file, name = parts
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; give FILE.py:FUNCTION")
    with _importing(file.parent.resolve()):
        function = getattr(_module(file), name, None)
        if not callable(function):
            raise ValueError(f"{file} has no function {name!r}; define it, without arguments")
        _refuse_arguments(function, found.said)
        made = _called(function, found.said)
    if not isinstance(made, Objective):
        raise TypeError(
            f"{found.said} returned {shown(made)}; return one of fimetric.objectives, made with "
            "its model"
        )
    made.module.to(request.device)
    made.seed = request.seed or made.seed
    return made, None


def _refuse_arguments(function: Any, said: str) -> None:
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if any(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in needed):
        raise ValueError(f"{said} needs arguments ({needed[0].name}); give them defaults")


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    """Let what runs import the files of a folder."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:  # the file may have changed it
            sys.path.remove(str(folder))


def _called(function: Any, said: str) -> Any:
    """Return what a function returns.

    Raises:
        ValueError: with what the function itself raises.
    """
    try:
        return function()
    except Exception as error:
        raise ValueError(f"{said} fails: {type(error).__name__}: {error}") from error


def _module(file: Path) -> ModuleType:
    """Return a file as a module, which runs it; it may take the place of one that ran before.

    Raises:
        ValueError: with what the file itself raises, or for the name of an imported module.
    """
    before = sys.modules.get(file.stem)
    place = getattr(before, "__file__", None)
    folder = place is None and hasattr(before, "__path__")  # one that could be a package
    ours = before is None or before in _RAN or folder or place == str(file.resolve())
    if not ours:
        raise ValueError(
            f"{file} is called like the module {file.stem!r}, which is loaded; rename the file"
        )
    spec = importlib.util.spec_from_file_location(file.stem, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # as dataclasses and pickles of it ask for
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        _put_back(file.stem, before)
        raise ValueError(f"{file} fails as it is run: {type(error).__name__}: {error}") from error
    _RAN.add(module)
    return module


def _put_back(name: str, module: ModuleType | None) -> None:
    if module is None:
        del sys.modules[name]
    else:
        sys.modules[name] = module


LOADER = Loader(
    "python",
    "a function of a file that returns an objective",
    frozenset(),
    lambda path: False,  # told by its name, before there is a path
    _open,
    code=True,
)
