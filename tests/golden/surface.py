"""What other programs see of this package: names, signatures, options and keys, as plain data."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import fimetric
from fimetric.benchmark.config import Grid, Own, Trained
from fimetric.cli import app


def surface() -> dict[str, Any]:
    """Return everything that a caller can name: changed by no move of a file."""
    return {"python": python(), "commands": commands(), "toml": toml()}


def python() -> dict[str, Any]:
    """Return the public names of the package and of each of its rooms, with their signatures."""
    found: dict[str, Any] = {"fimetric": sorted(fimetric.__all__)}
    for name in fimetric.__all__:
        value = getattr(fimetric, name)
        if inspect.ismodule(value):
            found |= {f"{name}.{n}": described(x) for n, x in members(value).items()}
        else:
            found[name] = described(value)
    return found


def members(module: Any) -> dict[str, Any]:
    """Return the functions and classes that a room shows, not those that it only uses."""
    return {
        name: value
        for name, value in sorted(vars(module).items())
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith(module.__name__)
    }


def described(value: Any) -> Any:
    """Return a function's parameters, or those of a class and of its public methods."""
    if not inspect.isclass(value):
        return parameters(value)
    methods = {
        name: parameters(method)
        for name, method in inspect.getmembers(value, callable)
        if not name.startswith("_") and owner(method).startswith("fimetric")
    }
    return {"()": parameters(value), **methods}


def owner(method: Any) -> str:
    return getattr(method, "__module__", None) or ""


def parameters(function: Any) -> list[str]:
    """Return names, kinds and defaults; annotations name files, which may move."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return ["?"]
    return [
        str(p.replace(annotation=inspect.Parameter.empty, default=plain(p.default)))
        for p in signature.parameters.values()
    ]


def plain(default: Any) -> Any:
    """Return a default that prints alike in each process and wherever its class stands."""
    if default is inspect.Parameter.empty or default is None:
        return default
    if isinstance(default, bool | int | float | str | tuple):
        return default
    return str(default) if isinstance(default, list | Path) else type(default).__name__


def commands() -> dict[str, Any]:
    """Return the options of each command, with their types, defaults and limits."""
    return {each.callback.__name__: options(each.callback) for each in app.registered_commands}


def options(command: Any) -> dict[str, str]:
    """Return an option's names and limits and its default, by the name of its parameter."""
    return {
        name: f"{declared(p.annotation)}, {asked(plain(p.default))}"
        for name, p in inspect.signature(command).parameters.items()
    }


def asked(default: Any) -> str:
    return "required" if default is inspect.Parameter.empty else f"by default {default}"


def declared(annotation: Any) -> str:
    """Return what typer was told of an option: its type, names, and least and largest value."""
    kind, told = get_args(annotation)
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    words = [type(told).__name__.removesuffix("Info"), name, *(told.param_decls or ())]
    words += [
        f"{name}={getattr(told, name)}"
        for name in ("min", "max")
        if getattr(told, name) is not None
    ]
    return " ".join(words)


def toml() -> dict[str, list[str]]:
    """Return the keys that a benchmark file may hold."""
    kinds = {"Grid": Grid, "Own": Own, "Recipe": Trained}
    return {name: [f.name for f in fields(kind)] for name, kind in kinds.items()}
