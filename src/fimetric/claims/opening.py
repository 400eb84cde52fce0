"""A study of what the command line names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fimetric.arguments import folder_of, whole
from fimetric.claims.draws import draw
from fimetric.claims.study import Study
from fimetric.data.named import Named
from fimetric.models import Model, load
from fimetric.models.devices import known_device
from fimetric.models.family import SCHEDULE, family_of
from fimetric.objectives import from_pretrained
from fimetric.objectives.pretrained.own import LOADER
from fimetric.objectives.pretrained.python import split

FEWEST = 200  # samples that claims are measured on: below, no number of theirs means anything


def open_study(
    source: str | Path,
    data: str,
    foreign: Sequence[str],
    out: Path,
    part: Named,
    device: str = "cpu",
    timesteps: Sequence[int] | None = None,
    samples: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
) -> Study:
    """Return a saved model with its data, foreign data and samples of its own, drawn into ``out``.

    Raises:
        ValueError: for a model of another kind, too few samples, and whatever opening model and
            data raises.
    """
    whole("batch_size", batch_size)
    if samples < FEWEST:
        raise ValueError(f"claims need at least {FEWEST} samples of each set, not {samples}")
    model = _own(source).to(known_device(device))
    if timesteps is None and SCHEDULE in family_of(model).has:
        timesteps = (0,)  # the paper's, whose claims they are
    objective, shape = from_pretrained(source, timesteps, 1, seed, device), tuple(model.shape)
    own, others = part.open(data, shape), part.open_all(foreign, shape)
    study = Study(objective, own, others, None, out, samples, seed, batch_size)
    return replace(study, drawn=draw(model, objective, samples, out / "drawn", seed))


def _own(source: str | Path) -> Model:
    """Return a model that fimetric trained.

    Raises:
        ValueError: for another, of which no samples can be drawn here.
    """
    place = folder_of(source, "the model")
    if (place.exists() and not LOADER.recognises(place)) or split(str(source)):
        raise ValueError(
            f"{source} is not {LOADER.words}; the claims are measured on samples that a model "
            "draws, so they can be asked of those alone"
        )
    return load(place)
