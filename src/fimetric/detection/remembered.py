"""What a detector remembers of its model: where it lies from here, and what was asked of it.

So the two can be moved together. Opening a model again runs no code of somebody's own and makes no
call over the network: a model of the hub is opened from its copy on this machine.
"""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fimetric.data.hub import looks_like_a_name
from fimetric.detection.saved import Description, damaged
from fimetric.objectives import from_pretrained
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained.places import find, here_alone
from fimetric.objectives.pretrained.python import split
from fimetric.objectives.pretrained.request import Opened, Request

ASKED = {field.name for field in fields(Request)} - {"device", "revision"}
PASS = "pass --model on the command line, objective= to Detector.load in Python"


def remembered(objective: Objective, folder: str | Path) -> Opened | None:
    """Return how an objective was opened, as a detector in a folder writes it.

    Arguments:
        objective: that of the detector; None is returned where it was made by hand.
        folder: of the detector.
    """
    opened: Opened | None = objective.opened
    if opened is None:
        return None
    asked = dict(opened.asked)
    if Path(base := asked.get("base", "")).is_absolute():
        asked["base"] = _seen_from(folder, base)
    here = opened.commit is None and not split(opened.source)
    return replace(
        opened, source=_seen_from(folder, opened.source) if here else opened.source, asked=asked
    )


def _seen_from(folder: str | Path, path: str) -> str:
    return Path(os.path.relpath(path, Path(folder).resolve())).as_posix()


def reopened(
    folder: Path,
    kept: Description,
    device: str = "cpu",
    base: str | None = None,
    trust_remote_code: bool = False,
) -> Objective:
    """Return the objective that a detector was fitted with, opened where it remembers the model.

    Arguments:
        folder: of the detector.
        kept: what it says.
        device: where the model goes.
        base: the base of an adapter, where that has moved.
        trust_remote_code: run the code that lies beside the model.

    Raises:
        FileNotFoundError: where the model is not there any more, saying where it was looked for.
        ValueError: where opening it would run code, or nothing is remembered; and whatever
            ``from_pretrained`` raises.
    """
    opened = kept.opened
    if opened is None:
        raise ValueError(
            f"{folder} does not say where its model lies, for its objective was made by hand, or "
            f"by an earlier release; {PASS}"
        )
    source = opened.source if opened.commit else str((folder.resolve() / opened.source).resolve())
    if split(source):
        raise ValueError(
            f"{folder} was fitted with what a function returned, {opened.source}, which is run "
            f"where it is named again alone; {PASS}"
        )
    if opened.code and not trust_remote_code:
        raise ValueError(
            f"{folder} was fitted with a model whose own code was run, {opened.source}, which is "
            f"done where it is asked for again alone; pass --trust-remote-code, or {PASS}"
        )
    with here_alone():
        _refuse_moved(folder, source, opened.commit)
        return from_pretrained(
            source,
            device=device,
            revision=opened.commit,
            trust_remote_code=trust_remote_code,
            **_asked(folder, opened, base),
        )


def named_again(
    folder: Path,
    kept: Description,
    model: str | Path,
    device: str = "cpu",
    base: str | None = None,
    trust_remote_code: bool = False,
) -> Objective:
    """Return the objective of a model that is named, with all else as the detector remembers it.

    Arguments:
        folder, kept, device, base, trust_remote_code: see ``reopened``.
        model: as ``from_pretrained`` takes it.

    Raises:
        FileNotFoundError, ValueError, TypeError, ImportError: see ``from_pretrained``.
    """
    opened = kept.opened
    if opened is None:
        told = () if split(str(model)) else ("timesteps", "draws")
        asked = {name: kept.settings[name] for name in told if name in kept.settings}
        asked |= {"seed": kept.seed} | ({} if base is None else {"base": base})
    else:
        asked = _asked(folder, opened, base)
        if opened.commit and not Path(model).exists() and not split(str(model)):
            asked["revision"] = opened.commit
    return from_pretrained(model, device=device, trust_remote_code=trust_remote_code, **asked)


def _asked(folder: Path, opened: Opened, base: str | None) -> dict[str, Any]:
    """Return what was asked for, but for trust, which is given anew each time.

    Raises:
        ValueError: for what ``from_pretrained`` is not asked for, which no detector was saved with.
    """  # noqa: DOC501  (damaged() makes it)
    if others := opened.asked.keys() - ASKED:
        raise damaged(folder, f"its model was asked for {', '.join(sorted(others))}")
    asked = {name: x for name, x in opened.asked.items() if name != "trust_remote_code"}
    if base is not None:
        asked["base"] = base
    elif "base" in asked:
        asked["base"] = _place_of(folder, asked["base"])
    return asked


def _place_of(folder: Path, base: Any) -> str:
    """Return where a base lies: seen from the detector, or on the hub.

    Raises:
        ValueError: for what is no path.
    """  # noqa: DOC501  (damaged() makes it)
    if not isinstance(base, str):
        raise damaged(folder, f"the base of its model is {base!r}")
    place = (folder.resolve() / base).resolve()
    of_hub = looks_like_a_name(base.partition("@")[0]) and not place.exists()
    return base if of_hub else str(place)


def _refuse_moved(folder: Path, source: str, commit: str | None) -> None:
    """Refuse a model that is not where it was.

    Raises:
        FileNotFoundError: saying where it was looked for, and what to do.
    """
    if commit is None and not Path(source).exists():
        raise FileNotFoundError(
            f"the model of {folder} is not at {source}, where it was, seen from the detector; if "
            f"it has moved, {PASS}"
        )
    try:
        find(source, commit)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"there is no copy of {source} at commit {commit} on this machine, and a detector is "
            f"opened without the network; call from_pretrained({source!r}, revision={commit!r}) "
            f"once, or {PASS}"
        ) from error
