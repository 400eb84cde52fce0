"""What a user names, opened: a model, a detector on its model, a table of features or data."""

from collections.abc import Sequence
from pathlib import Path

from fimetric.arguments import folder_of, seed_of
from fimetric.data import Samples
from fimetric.data.named import Named, Shape
from fimetric.detection.detector import Detector
from fimetric.features.table import Features
from fimetric.models import load as load_model
from fimetric.models.devices import known_device
from fimetric.objectives import Objective, several_timesteps, standard_objective


def open_objective(
    folder: Path,
    device: str = "cpu",
    timesteps: Sequence[int] | None = None,
    draws: int = 1,
    seed: int = 0,
) -> tuple[Objective, Shape]:
    """Return the objective of a saved model, and the shape of the samples that it takes.

    A diffusion model has ``several_timesteps`` where none are given.

    Raises:
        ValueError: for settings that do not concern this kind of model, or a device that is not
            there.
    """
    seed_of(seed)
    model = load_model(folder).to(known_device(device))
    times = several_timesteps(model) if timesteps is None else timesteps
    return standard_objective(model, times, draws, seed), tuple(model.shape)


def open_detector(folder: Path, model_folder: Path, device: str = "cpu") -> tuple[Detector, Shape]:
    """Return a saved detector on its model, and the shape of the samples that it takes.

    Raises:
        ValueError: where it was fitted on another model, or either is damaged.
    """
    kept = Detector.read_settings(folder)
    settings = {name: kept[name] for name in ("timesteps", "draws", "seed") if name in kept}
    model = load_model(model_folder).to(known_device(device))
    return Detector.load(folder, standard_objective(model, **settings)), tuple(model.shape)


def open_table(named: Named, source: str, shape: Shape | None = None) -> Samples | Features:
    """Return the features in a folder that ``fimetric extract`` wrote, or else a data set.

    Raises:
        ValueError: for a limit that leaves not one group of the features.
    """
    if not (folder_of(source, "the name of the data") / "features.json").exists():
        return named.open(source, shape)
    features = Features.load(source)
    if named.limit is None:
        return features
    if named.limit < features.group_size:
        raise ValueError(
            f"limit {named.limit} leaves not one group of {features.group_size} of {source}"
        )
    return features.select(slice(named.limit // features.group_size))
