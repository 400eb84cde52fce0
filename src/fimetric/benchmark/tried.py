"""Which methods a model is tried with, and why it is not tried with others."""

from collections.abc import Sequence

from fimetric.benchmark.cases import Case
from fimetric.benchmark.methods import METHODS


def methods_of(case: Case) -> list[str]:
    """Return the methods that a model is tried with."""
    out = _left_out(case)
    return [
        name
        for name in case.grid.methods
        if name not in out and (case.first or not METHODS[name].first_only)
    ]


def left_out(cases: Sequence[Case]) -> list[str]:
    """Return a line for each method that is left out and each reason, with the models.

    Where the grid names no methods, those are not told of that are for other models altogether.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        for method, why in _left_out(case).items() if case.first else ():
            if case.grid.named or not _for_others(case, method):
                found.setdefault((method, why), []).append(case.name)
    return [f"{method}: left out of {', '.join(n)}: {why}" for (method, why), n in found.items()]


def _left_out(case: Case) -> dict[str, str]:
    """Return method -> why it is left out, in the order of the grid."""
    found = dict(case.without)
    return {m: why for m in case.grid.methods if (why := _missing(case, m) or found.get(m, ""))}


def _missing(case: Case, name: str) -> str:
    """Return in words what a method needs that the grid does not give; empty where it does."""
    if METHODS[name].background and not case.trained.background and not _for_others(case, name):
        return "the model has no background"
    return _for_others(case, name)


def _for_others(case: Case, name: str) -> str:
    """Return in words what other models a method is for; empty where it is for such as this."""
    method, family = METHODS[name], case.trained.family
    if method.samples and family.samples not in method.samples:
        return f"its samples are {family.samples}, not {' or '.join(method.samples)}"
    if not method.fits(family):
        return f"the model does not have {' or '.join(method.needs)}"
    if len(case.members) < method.members:
        return f"it takes {method.members} models that differ in their seed alone"
    return ""
