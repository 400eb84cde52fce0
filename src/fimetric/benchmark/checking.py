"""What does not go together in a grid, told before anything is trained or scored."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fimetric.benchmark.cases import Case, Sets, cases
from fimetric.benchmark.config import Grid
from fimetric.benchmark.kinds import TABLES, Source, TableKind
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.own import called
from fimetric.benchmark.places import model_folder
from fimetric.benchmark.tables import background_of, source_of
from fimetric.benchmark.tried import left_out, methods_of
from fimetric.data import Samples
from fimetric.data.samples import refuse_other_shape
from fimetric.extraction.extractor import placed
from fimetric.extraction.intake import Intake, named_failures
from fimetric.models.devices import known_device
from fimetric.models.folder import describe
from fimetric.objectives import Objective
from fimetric.objectives.reading import read

logger = logging.getLogger(__name__)

HERE = "relative paths are taken from the folder that the command runs in"
KINDS = (FileNotFoundError, OSError, ImportError, RuntimeError, TypeError, ValueError)


def checked(grid: Grid, folder: Path) -> list[Case]:
    """Return the models of a grid, each with the methods that its model or data do not allow.

    Arguments:
        grid: what to do.
        folder: of the run.

    Raises:
        FileNotFoundError: for data or a model that is not there.
        OSError, ImportError, RuntimeError, TypeError: where a model does not open, or takes other
            data.
        ValueError: likewise, for sets that are too small or of another shape than their model
            takes, and for methods that are named and cannot be tried.
    """
    known_device(grid.device)
    place = grid.checkpoints
    if place is not None and not Path(place).is_dir():
        raise ValueError(f"there is no folder {place!r} here; run where the checkpoints are")
    found: list[Case] = []
    sets: dict[tuple[str, str], Sets] = {}
    for case in cases(grid):
        kind = (case.own.name, case.trained.family.samples)
        if kind not in sets:
            sets = {kind: Sets(case)}  # those of one own set at a time
            with _named(case.own.name):
                sets[kind].parts  # noqa: B018
        found.append(_checked(case, sets[kind], folder))
    for line in left_out(found):
        logger.warning("%s", line)
    return found


def _checked(case: Case, sets: Sets, folder: Path) -> Case:
    """Return a model with the methods that cannot be tried.

    Raises:
        ValueError: where the grid names one of them, or no method is left.
    """
    where = f"{case.own.name}, models.{case.trained.kind}"
    source = _opened(case, sets, folder, where)
    with _named(case.own.name):
        sets.all()  # what is too small or of another shape is told before the work
    if source is not None:
        with _named(f"{where}: model = {case.trained.model!r}"):
            _pass_all(case, sets, source.objective)
    found = {} if source is None else _not_made(case, source)
    found |= _without_training(case, sets)
    if found and case.grid.named:
        wrong = "; ".join(f"{' and '.join(names)}: {why}" for why, names in _by_value(found))
        raise ValueError(f"{where}: {wrong}; or take these out of methods")
    case = replace(case, without=tuple(found.items()))
    if case.first and not methods_of(case):
        raise ValueError(f"{where}: no method is left: {'; '.join(left_out([case]))}")
    return case


def _opened(case: Case, sets: Sets, folder: Path, where: str) -> Source | None:
    """Return a model that lies somewhere, or None; of both, own samples must have the shape.

    Raises:
        FileNotFoundError: for a background that is not there.
    """
    how = case.trained
    if how.model is None:
        place = model_folder(case, folder)
        if (place / "config.json").exists() and how.family.samples != "texts":
            with _named(where):
                _check_shape(describe(place).shape, sets.parts)
        return None
    if how.background is not None and not Path(how.background).exists():
        raise FileNotFoundError(
            f"{where}: background = {how.background!r}: there is no such model; {HERE}"
        )
    with _named(f"{where}: model = {how.model!r}"):
        source = source_of(case, sets, folder, False)
        if source.objective.opened is not None:
            _check_shape(source.objective.opened.shape, sets.parts)
        elif source.model is not None and how.family.samples != "texts":
            _check_shape(source.model.shape, sets.parts)
    if any(METHODS[method].background for method in methods_of(case)):
        with _named(f"{where}: background = {how.background!r}"):
            return replace(source, background=background_of(case))
    return source


def _check_shape(shape: tuple[int, ...] | None, parts: Mapping[str, Samples]) -> None:
    """Refuse own samples of another shape than a model takes, as ``fimetric fit`` does."""
    if shape is None:
        return
    for samples in parts.values():
        advice = "name data of that shape, or a model of such samples"
        refuse_other_shape(samples, shape, advice)


def _pass_all(case: Case, sets: Sets, objective: Objective) -> None:
    foreign = [sets.foreign(called(name)) for name in (*case.own.far, *case.own.near)]
    for samples in (*sets.parts.values(), *foreign):
        with _named(samples.name):
            _pass(objective, samples)


def _pass(objective: Objective, samples: Samples) -> None:
    """Take the first samples of a set through a model, as an extraction would."""
    first = samples.select(range(min(2, len(samples))))
    for batch in read(objective, first, 2):
        taken = Intake(objective)(objective.conditioned(batch))
        with named_failures(objective.module, taken):
            objective(placed(taken, objective.module))


def _not_made(case: Case, source: Source) -> dict[str, str]:
    """Return the methods whose table cannot be made of a model, with the reason."""
    names = {m: METHODS[m].table_of(case.trained.family) for m in methods_of(case)}
    kinds = {name: TABLES[name] for name in names.values() if not TABLES[name].learns}
    reasons = {name: _reason(kind, source) for name, kind in kinds.items()}
    beside = f"with background = {case.trained.background!r}: "
    return {
        method: f"{beside if METHODS[method].background else ''}{why}"
        for method, name in names.items()
        if (why := reasons.get(name))
    }


def _reason(kind: TableKind, source: Source) -> str:
    try:
        kind.make(source)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _without_training(case: Case, sets: Sets) -> dict[str, str]:
    """Return the methods that learn from training data, where the own set has none."""
    learn = [
        method
        for method in methods_of(case)
        if TABLES[METHODS[method].table_of(case.trained.family)].learns in ("training", "both")
    ]
    if not learn:
        return {}
    try:
        sets.train  # noqa: B018
    except (OSError, ValueError) as error:
        return dict.fromkeys(learn, f"there is nothing to learn from: {error}")
    return {}


def _by_value(found: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    return [(why, [m for m in found if found[m] == why]) for why in dict.fromkeys(found.values())]


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say of an error which entry of the file it is about.

    Raises:
        FileNotFoundError, OSError, ImportError, RuntimeError, TypeError, ValueError: as they were.
    """
    try:
        yield
    except KINDS as error:
        kind: Callable[[str], Exception] = next(k for k in KINDS if isinstance(error, k))
        rest = f"; {HERE}" if kind is FileNotFoundError else ""
        raise kind(f"{where}: {error}{rest}") from error
