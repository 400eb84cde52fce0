"""The stages of a benchmark, one after the other: train, extract, score, compare.

Every stage is a set of files keyed by what they are made from, so a run that was killed goes on
where it stopped, and a grid that has changed computes what is new.
"""

from collections.abc import Sequence
from pathlib import Path

from fimetric.benchmark.cases import Case, Sets
from fimetric.benchmark.checking import checked
from fimetric.benchmark.comparing import Found, Key, compare
from fimetric.benchmark.config import Grid
from fimetric.benchmark.jobs import Job, do
from fimetric.benchmark.kinds import TABLES
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.scoring import Scored, scored
from fimetric.benchmark.tables import Tables, Wanted, count, extract, table_key
from fimetric.benchmark.training import ready, trained
from fimetric.benchmark.tried import methods_of
from fimetric.store.files import swept


def train(grid: Grid, folder: Path, jobs: int | None = None, progress: bool = True) -> None:
    """Train the models of a grid that are not there yet; the arguments are those of ``run``.

    Raises:
        FileNotFoundError, OSError, ImportError, RuntimeError, TypeError, ValueError: see
            ``checked``.
    """
    _train(checked(grid, folder), folder, jobs, progress)


def _train(models: Sequence[Case], folder: Path, jobs: int | None, progress: bool) -> None:
    with swept(folder, deep=True):
        waiting = [case for case in models if not ready(case, folder)]
        trainings = [(float(case.trained.steps), trained, (case, folder)) for case in waiting]
        do("training", trainings, jobs, progress)


def run(grid: Grid, folder: Path, jobs: int | None = None, progress: bool = True) -> Found:
    """Return what a benchmark finds, computing what its folder does not hold yet.

    Arguments:
        grid: what to do.
        folder: of the run; the committed models of the grid are read from where it names them.
        jobs: processes side by side, by default one a core.
        progress: whether to show progress.

    Raises:
        FileNotFoundError, OSError, ImportError, RuntimeError, TypeError, ValueError: see
            ``checked``; for data that are too few or do not fit their models, before the work that
            would be lost.
    """
    models = checked(grid, folder)
    _train(models, folder, jobs, progress)
    found: dict[Key, Scored] = {}
    with swept(folder, deep=True):
        do("extracting", _extractions(models, folder), jobs, progress)
        for results in do("scoring", _scorings(models, folder), jobs, progress):
            found |= results
    return compare(models, found)


def _extractions(models: Sequence[Case], folder: Path) -> list[Job]:
    wanted = [w for case in models for w in wanted_by(case)]
    work = [count(w) * TABLES[w.table].cost for w in wanted]
    found = [(cost, _extract, (w, folder)) for cost, w in zip(work, wanted, strict=True)]
    return sorted(found, key=lambda job: -job[0])  # the longest first, so that none is left alone


def _extract(wanted: Wanted, folder: Path) -> None:
    extract(wanted, folder)  # the tables stay in their files: a process hands nothing large back


def wanted_by(case: Case) -> list[Wanted]:
    """Return all tables that the methods of a grid need of a model."""
    found: dict[Wanted, None] = {}
    for method in methods_of(case):
        for size, arrangement in arrangements(case.grid):
            found[wanted(case, method, size, arrangement)] = None
    return list(found)


def wanted(case: Case, method: str, size: int, arrangement: str) -> Wanted:
    """Return the table that a method needs for a group size and arrangement."""
    table = METHODS[method].table_of(case.trained.family)
    if METHODS[method].joint and size > 1:
        return Wanted(case, table, size, arrangement)
    return Wanted(case, table)


def arrangements(grid: Grid) -> list[tuple[int, str]]:
    """Return group sizes and how their groups are arranged."""
    random = [(size, "random") for size in grid.group_sizes]
    return [*random, *((size, "consecutive") for size in grid.consecutive)]


def _scorings(models: Sequence[Case], folder: Path) -> list[Job]:
    return [(float(len(methods_of(case))), _score, (case, folder)) for case in models]


def _score(case: Case, folder: Path) -> dict[Key, Scored]:
    """Return the scores of all methods on one model."""
    sets = Sets(case)
    tables: dict[Wanted, Tables] = {}
    found = {}
    for method in methods_of(case):
        for size, arrangement in arrangements(case.grid):
            want = wanted(case, method, size, arrangement)
            if want not in tables:
                tables[want] = extract(want, folder, sets)
            place = folder / "scores" / case.name / f"{method}-{size}-{arrangement}"
            key = table_key(tables[want])
            result = scored(method, tables[want], size, arrangement, case.grid.seed, place, key)
            found[case.name, method, size, arrangement] = result
    return found
