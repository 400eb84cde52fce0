"""Models that ``fimetric train`` has written."""

from pathlib import Path

from fimetric.models import load
from fimetric.models.family import family_of
from fimetric.objectives.base import Objective
from fimetric.objectives.language import CausalLM
from fimetric.objectives.pretrained.places import said_by
from fimetric.objectives.pretrained.request import Found, Loader, Request, Shape
from fimetric.objectives.standard import several_timesteps, standard_objective

SAYS = ({"kind", "shape", "config"}, {"kind", "version", "sha256", "content"})
"""What ``config.json`` says in its first version, and in all that have a checksum."""


def _recognises(path: Path) -> bool:
    said = said_by(path / "config.json").keys()
    return any(keys <= said for keys in SAYS)


def _open(found: Found, request: Request) -> tuple[Objective, Shape | None]:
    model = load(found.path).to(request.device)
    times = several_timesteps(model) if request.timesteps is None else request.timesteps
    made = standard_objective(model, times, request.draws, request.seed)
    if request.window is not None:
        made = _cut(made, request.window)
    texts = family_of(model).samples == "texts"
    return made, None if texts else tuple(model.shape)


def _cut(objective: Objective, window: int) -> Objective:
    """Return the objective of texts cut to so many tokens.

    Raises:
        ValueError: for another than one of texts.
    """
    if not isinstance(objective, CausalLM):
        model = type(objective.module).__name__
        raise ValueError(f"window={window} concerns models of texts, not a {model}; leave it out")
    return CausalLM(objective.module, objective.tokenizer, window)


LOADER = Loader(
    "fimetric",
    "a model that fimetric trained",
    frozenset(("timesteps", "draws", "window")),
    _recognises,
    _open,
)
