"""Options that go together: a command takes them as one object, typer sees them one by one."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def gathered(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of its gathered parameters one by one, by name.

    A parameter whose type is a dataclass is gathered: the fields of the class are declared as the
    options of a command are.

    Arguments:
        command: a function with gathered parameters.
    """
    own = signature(command).parameters
    groups = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}

    @functools.wraps(command)
    def call(**given: Any) -> None:
        made = {name: _made(group, given) for name, group in groups.items()}
        command(**given, **made)

    each = [option for parameter in own.values() for option in _options(parameter)]
    call.__signature__ = Signature(each)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in each}
    return call


def _made(group: Any, given: dict[str, Any]) -> Any:
    """Return an object made of its options, which are taken out of those that are given."""
    named = [field.name for field in fields(group) if field.name in given]
    return group(**{name: given.pop(name) for name in named})


def _options(parameter: Parameter) -> Iterator[Parameter]:
    """Yield a parameter, or those that are gathered in it; by name alone, so in any order."""
    group = parameter.annotation
    if not is_dataclass(group):
        yield parameter.replace(kind=Parameter.KEYWORD_ONLY)
        return
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        yield Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=hints[field.name],
        )


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default
