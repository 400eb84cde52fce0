"""What the command line names, opened: a model, a detector on its model, data that fit them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fimetric.arguments import folder_of, seed_of
from fimetric.data import Samples, load
from fimetric.data.conventions import refuse_outside_unit
from fimetric.detector import Detector
from fimetric.devices import known_device
from fimetric.features.table import Features
from fimetric.models import load as load_model
from fimetric.objectives import Objective, several_timesteps, standard_objective
from fimetric.store.files import refuse_file

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Named:
    """Data by name, and the part of it that is asked for; see ``fimetric.data.load``."""

    split: str = "test"
    limit: int | None = None
    size: int | None = None
    channels: int | None = None

    def open(self, source: str, shape: Shape | None = None) -> Samples:
        """Return a data set.

        Arguments:
            source: its name.
            shape: of the samples that a model takes; None allows any.

        Raises:
            ValueError: for samples of another shape, or outside [0, 1], saying what to do; and
                whatever ``load`` raises.
        """
        place = folder_of(source, "the name of the data")
        if not place.exists() and os.path.isdir(f"{source}.parts"):  # whose name may be too long
            raise ValueError(
                f"the extraction of {source} was stopped before its end; call `fimetric extract` "
                "again as before to finish it"
            )
        samples = load(
            source, split=self.split, limit=self.limit, size=self.size, channels=self.channels
        )
        if shape is not None and samples.shape != shape:
            raise ValueError(
                f"{samples.name} has samples of shape {samples.shape}, the model takes {shape}; "
                + _advice(samples, shape)
            )
        refuse_outside_unit(samples)
        return samples

    def open_table(self, source: str, shape: Shape | None = None) -> Samples | Features:
        """Return the features in a folder that ``fimetric extract`` wrote, or else a data set."""
        if not (folder_of(source, "the name of the data") / "features.json").exists():
            return self.open(source, shape)
        features = Features.load(source)
        if self.limit is None:
            return features
        if self.limit < features.group_size:
            raise ValueError(
                f"limit {self.limit} leaves not one group of {features.group_size} of {source}"
            )
        return features.select(slice(self.limit // features.group_size))

    def open_all(self, sources: Sequence[str], shape: Shape | None = None) -> Mapping[str, Samples]:
        """Return several data sets by their names.

        Raises:
            ValueError: where two would go by one name.
        """
        found: dict[str, Samples] = {}
        for source in sources:
            samples = self.open(source, shape)
            if samples.name in found:
                raise ValueError(
                    f"two data sets are called {samples.name!r}, the second is {source}; leave one "
                    "out, or rename its file or folder"
                )
            found[samples.name] = samples
        return found


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


def new_folder(path: Path, *sources: str) -> Path:
    """Return the path of a folder to be written, which may exist, but not as a file.

    Arguments:
        path: the folder.
        sources: names of data; what is written into them would be read as data the next time.

    Raises:
        ValueError: before the work that would be lost.
    """
    refuse_file(path)
    for source in sources:
        place = folder_of(source, "the name of the data")
        if place.is_dir() and path.resolve().is_relative_to(place.resolve()):
            raise ValueError(f"{path} lies in the data {source}; name a folder outside of them")
    return path


def _advice(samples: Samples, shape: Shape) -> str:
    if not samples.quantised or len(samples.shape) != 3:
        return f"store the samples as (N, {', '.join(map(str, shape))})"
    options = []
    if samples.shape[0] != shape[0]:
        options.append(f"--channels {shape[0]}")
    if samples.shape[1:] != shape[1:]:
        if shape[1] != shape[2]:
            return f"resize the pictures to {shape[1]}x{shape[2]} (height x width)"
        options.append(f"--size {shape[1]}")
    return f"pass {' '.join(options)}, or take a model trained on such data"
