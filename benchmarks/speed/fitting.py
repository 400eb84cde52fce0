"""The whole job of a detector, fit and score, on a model that the engine has never seen."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed.cases import CASES, IMAGE
from benchmarks.speed.checking import refusal
from benchmarks.speed.peers import loop, vmap_of_grad
from benchmarks.speed.tables import Table
from benchmarks.speed.timing import Work, in_chunks, seconds, training_step
from fimetric.extraction.memory import MOST

FITTED, SCORED, CHUNK = 120, 40, 8
TIMESTEPS = (0, 50, 300)
NOTE = (
    f"fit on {FITTED} samples and score {SCORED}, by one process that begins with the model. The "
    "arithmetic is one training step for each batch and view; loop and vmap compute the squared "
    "norms alone, in each view."
)


@dataclass(frozen=True)
class Job:
    """A model, what is differentiated, and how many samples."""

    name: str
    model: Callable[[], nn.Module]
    objective: Callable[[nn.Module], fm.objectives.Objective]
    fitted: int = FITTED
    scored: int = SCORED


def _unet() -> nn.Module:
    config = fm.models.DiffusionConfig(channels=(32, 64, 128), layers=2)
    return fm.models.build("diffusion", config, IMAGE).eval()


def _denoising(module: nn.Module) -> fm.objectives.Objective:
    return fm.objectives.Denoising(module.unet, module.scheduler, TIMESTEPS)


JOBS = (
    Job(f"UNet, timesteps {', '.join(map(str, TIMESTEPS))}", _unet, _denoising),
    Job("VAE", CASES["VAE"].model, fm.objectives.standard_objective),
)


def measure(jobs: tuple[Job, ...] = JOBS) -> Table:
    """Measure all ways, each on a model of its own."""
    columns = ("model", "arithmetic, s", "fit + score", "B=1 loop", "vmap(grad)")
    table = Table("Fit and score, over the arithmetic", columns, NOTE)
    for job in jobs:
        ways = (_arithmetic, _fimetric, _loop, _vmap)
        times = [_seconds(way, job) for way in ways]
        base = times[0]
        assert base is not None  # a plain training step
        table.rows.append((job.name, base, *(t and t / base for t in times[1:])))
    return table


def _seconds(way: Callable[..., Work], job: Job) -> float | None:
    torch.manual_seed(0)
    module, x = job.model(), torch.rand(job.fitted + job.scored, *IMAGE)
    objective = job.objective(module)
    try:
        return seconds(way(job, module, objective, x))
    except Exception as error:
        print(f"{job.name}, {way.__name__}: {refusal(error)}")
        return None


def _fimetric(job: Job, module: nn.Module, objective: fm.objectives.Objective, x: Tensor) -> Work:
    def work() -> None:
        detector = fm.Detector(objective).fit(x[: job.fitted])
        detector.score(x[job.fitted :])

    return work


def _arithmetic(job: Job, module: nn.Module, objective: fm.objectives.Objective, x: Tensor) -> Work:
    parts = [part for half in x.split([job.fitted, job.scored]) for part in half.split(MOST)]
    steps = [training_step(module, of, part) for of in _views(objective) for part in parts]
    steps[0]()
    return lambda: [step() for step in steps]


def _loop(job: Job, module: nn.Module, objective: fm.objectives.Objective, x: Tensor) -> Work:
    case = CASES["VAE"]
    tables = [loop(replace(case, losses=lambda _, of=of: of), module) for of in _views(objective)]
    return lambda: [each.table(x) for each in tables]


def _vmap(job: Job, module: nn.Module, objective: fm.objectives.Objective, x: Tensor) -> Work:
    case = CASES["VAE"]
    each = [
        vmap_of_grad(replace(case, losses=lambda _, of=of: of), module) for of in _views(objective)
    ]
    works = [in_chunks(one.table, x, CHUNK) for one in each]
    return lambda: [work() for work in works]


def _views(objective: fm.objectives.Objective) -> list[Callable[[Tensor], Tensor]]:
    return [lambda x, view=view: objective.losses(view, x) for view in objective.views()]
