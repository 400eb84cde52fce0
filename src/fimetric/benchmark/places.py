"""Where the models of a grid lie, and whether they are what the grid says."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fimetric.benchmark.cases import Case
from fimetric.models.family import FAMILIES, family
from fimetric.models.folder import describe


def model_folder(case: Case, run: Path) -> Path:
    """Return where a model is: among the committed ones, or in the folder of the run.

    In the run it is named by all that it is trained from.

    Raises:
        ValueError: where the committed model is of another configuration than the grid's.
        FileNotFoundError: where the grid says where the model lies, and there is none.
    """
    if case.trained.model is not None:
        return _check_given(case, Path(case.trained.model))
    if case.grid.checkpoints is not None:
        committed = Path(case.grid.checkpoints) / case.name
        if (committed / "config.json").exists():
            _check_committed(case, committed)
            return committed
    how = case.trained
    what = [case.own.data, how.kind, _fields(how.config), how.steps, how.batch_size]
    what += [how.validate_every, case.seed, case.grid.size]
    what += [case.own.reading] if case.own.reading else []  # another column is other data
    mark = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    return run / "models" / f"{case.name}-{mark}"


def _check_given(case: Case, place: Path) -> Path:
    kind = case.trained.kind
    if kind not in FAMILIES:
        return place  # a hub name, perhaps, or a file with a function: ``tables`` opens it
    if not place.exists():
        raise FileNotFoundError(f"there is no {place}; give an existing folder")
    if describe(place).kind != kind:
        raise ValueError(f"{place} is a {describe(place).kind}, the grid says that it is a {kind}")
    return place


def _check_committed(case: Case, folder: Path) -> None:
    found = describe(folder)
    model = family(case.trained.kind).model
    config: Any = case.trained.config
    config = model.CONFIGS[config] if isinstance(config, str) else model.Config(**config)
    wanted = _without(json.loads(json.dumps(asdict(config))), model.LEARNED)
    if found.kind != case.trained.kind or _without(found.config, model.LEARNED) != wanted:
        raise ValueError(
            f"{folder} is a {found.kind} of {found.config}, the grid asks for a "
            f"{case.trained.kind} of {wanted}; change the grid, or move the model away"
        )


def _without(config: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


def _fields(config: Any) -> Any:
    return config if isinstance(config, str) else dict(config)
