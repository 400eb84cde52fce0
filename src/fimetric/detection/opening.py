"""What a user names, opened: a detector on its model, a table of features or data."""

from pathlib import Path

from fimetric.arguments import folder_of
from fimetric.data import Samples
from fimetric.data.named import Named, Shape
from fimetric.detection import saved
from fimetric.detection.detector import Detector
from fimetric.detection.remembered import named_again, reopened
from fimetric.features.table import Features


def open_detector(
    folder: Path,
    model: str | Path | None = None,
    device: str = "cpu",
    base: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[Detector, Shape | None]:
    """Return a saved detector on its model, and the shape of the samples that it takes.

    Arguments:
        folder: of the detector.
        model: as ``fimetric.objectives.from_pretrained`` takes it; where the detector remembers it
            if None.
        device: where the model goes.
        base: the base of an adapter, where that has moved.
        trust_remote_code: run the code that lies beside the model.

    Raises:
        FileNotFoundError: where there is no detector, or its model has moved.
        ValueError: where it was fitted on another model, either is damaged, or opening the model
            would run code that was not named.
    """
    kept, _ = saved.read(folder_of(folder))
    more = (device, base, trust_remote_code)
    if model is None:
        objective = reopened(folder, kept, *more)
    else:
        objective = named_again(folder, kept, model, *more)
    return Detector.load(folder, objective), objective.opened.shape


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
