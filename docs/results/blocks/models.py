"""The models that blocks are chosen on: the first of each kind on the pages of results."""

from pathlib import Path

from fimetric.benchmark.cases import Case, Sets, cases
from fimetric.benchmark.config import read
from fimetric.data import Samples
from fimetric.models import load
from fimetric.objectives import Objective, from_pretrained, several_timesteps, standard_objective

ROOT = Path(__file__).parents[3]
MODALITIES = ROOT / "docs" / "results" / "modalities"
GRIDS = ("text", "pretrained", "audio", "tables", "images")
FITTED, JUDGED = 500, 250  # samples at most


def models() -> list[Case]:
    """Return one model of each kind: those of the tier cpu, and those of the modalities."""
    grids = [read("cpu"), *(read(MODALITIES / f"{name}.toml") for name in GRIDS)]
    found = [case for grid in grids for case in cases(grid) if case.first]
    return list({_place(case): case for case in found if _place(case).exists()}.values())


def objective_of(case: Case) -> Objective:
    """Return what is differentiated of a model: at several timesteps where it has any."""
    if case.trained.options or _place(case).is_file():
        return from_pretrained(str(_place(case)), seed=case.grid.seed, **case.trained.options)
    model = load(_place(case))
    return standard_objective(model, several_timesteps(model), seed=case.grid.seed)


def own_parts(case: Case) -> tuple[Samples, Samples]:
    """Return the samples that densities are fitted on, and those that they are judged by."""
    parts = Sets(case).parts  # the benchmark's; its part for the test is not touched
    fit, held = parts["fit"], parts["calibration"]
    return fit.select(range(min(FITTED, len(fit)))), held.select(range(min(JUDGED, len(held))))


def _place(case: Case) -> Path:
    return ROOT / (case.trained.model or f"checkpoints/{case.name}")
