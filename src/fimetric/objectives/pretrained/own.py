"""Models that ``fimetric train`` has written."""

from pathlib import Path

from fimetric.models import load
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained.places import said_by
from fimetric.objectives.pretrained.request import Found, Loader, Request, Shape
from fimetric.objectives.standard import several_timesteps, standard_objective


def _recognises(path: Path) -> bool:
    return {"kind", "shape", "config"} <= said_by(path / "config.json").keys()


def _open(found: Found, request: Request) -> tuple[Objective, Shape]:
    model = load(found.path).to(request.device)
    times = several_timesteps(model) if request.timesteps is None else request.timesteps
    made = standard_objective(model, times, request.draws, request.seed)
    return made, tuple(model.shape)


LOADER = Loader(
    "fimetric",
    "a model that fimetric trained",
    frozenset(("timesteps", "draws")),
    _recognises,
    _open,
)
