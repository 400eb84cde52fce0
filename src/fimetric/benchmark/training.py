"""The models of a grid: those that are committed, and those that have yet to be trained."""

from pathlib import Path

from fimetric.benchmark.cases import Case, Sets
from fimetric.benchmark.places import model_folder
from fimetric.models import build_for, load, save
from fimetric.training import train


def ready(case: Case, folder: Path) -> bool:
    """Return whether a model is there, so that nothing has to be trained."""
    given = case.trained.model is not None
    return given or (model_folder(case, folder) / "config.json").exists()


def trained(case: Case, folder: Path) -> Path:
    """Return the folder of a model, after training it where it is not there yet.

    A training that was stopped goes on from its last checkpoint. Weights are kept in half
    precision: what is scored is what is kept, so it is scored as rounded.
    """
    place = model_folder(case, folder)
    if ready(case, folder):
        return place
    how, run = case.trained, folder / "trainings" / place.name
    samples = Sets(case).train
    model = build_for(how.kind, how.config, samples, case.seed)
    train(
        model,
        samples,
        run,
        steps=how.steps,
        batch_size=how.batch_size,
        validate_every=how.validate_every,
        seed=case.seed,
        device=case.grid.device,
        progress=False,
    )
    save(load(run), place, half=True)
    return place
