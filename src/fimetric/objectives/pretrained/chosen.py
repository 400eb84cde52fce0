"""Which parameters of a model are differentiated: the others are frozen, and cost nothing."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from fimetric.arguments import listed

SHOWN = 8  # names in a message


def patterns_of(patterns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return patterns as they are given, None for None.

    Raises:
        TypeError: for what is neither a pattern nor a list of them.
        ValueError: for an empty list.
    """
    if patterns is None or isinstance(patterns, str):
        return None if patterns is None else (patterns,)
    each = listed("parameters", patterns, "['*.bias']")
    if not each:
        raise ValueError(
            "parameters=[] chooses none; give a pattern such as '*.bias', or leave it out for all"
        )
    return each


def choose(module: nn.Module, patterns: str | Sequence[str] | None) -> None:
    """Freeze all parameters but those whose names fit one of some patterns.

    Arguments:
        module: the model.
        patterns: as of a shell, such as ``*.lora_*`` or ``transformer.h.11.*``; a name fits itself.
            None leaves the model as it is.

    Raises:
        ValueError: for a pattern that no parameter fits, with some names that there are; and where
            one asks for a parameter without gradients, such as a quantised one.
    """
    each = patterns_of(patterns)
    if each is None:
        return
    named = dict(module.named_parameters())
    kept: set[str] = set()
    for pattern in each:
        fitting = {name for name in named if fnmatchcase(name, str(pattern))}
        if not fitting:
            raise ValueError(
                f"no parameter of {type(module).__name__} fits {pattern!r}; there are "
                f"{', '.join(list(named)[:SHOWN])}{' ...' * (len(named) > SHOWN)}"
            )
        kept |= fitting
    whole = [n for n in sorted(kept) if not named[n].dtype.is_floating_point]
    if whole:
        raise ValueError(f"{whole[0]} holds whole numbers (it is quantised) and has no gradient")
    for name, parameter in named.items():
        parameter.requires_grad_(name in kept)
