"""A study of what the command line names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fimetric.arguments import whole
from fimetric.claims.draws import draw
from fimetric.claims.study import Study
from fimetric.data.named import Named
from fimetric.detection.opening import open_objective
from fimetric.models import load
from fimetric.models.devices import known_device
from fimetric.models.family import SCHEDULE, family_of

FEWEST = 200  # samples that claims are measured on: below, no number of theirs means anything


def open_study(
    folder: Path,
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
        ValueError: for too few samples, and whatever opening model and data raises.
    """
    whole("batch_size", batch_size)
    if samples < FEWEST:
        raise ValueError(f"claims need at least {FEWEST} samples of each set, not {samples}")
    model = load(folder).to(known_device(device))
    if timesteps is None and SCHEDULE in family_of(model).has:
        timesteps = (0,)  # the paper's, whose claims they are
    objective, shape = open_objective(folder, device, timesteps, 1, seed)
    own, others = part.open(data, shape), part.open_all(foreign, shape)
    study = Study(objective, own, others, None, out, samples, seed, batch_size)
    return replace(study, drawn=draw(model, objective, samples, out / "drawn", seed))
