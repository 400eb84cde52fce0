"""The folder of a detector: detector.json and detector.safetensors, no pickle."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from fimetric.calibration import Calibration
from fimetric.data.spec import Spec
from fimetric.detection.judge import Judge
from fimetric.detectors import from_state
from fimetric.extraction.provenance import difference
from fimetric.features.length import LengthTrend
from fimetric.features.probe import Probe
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained.request import Opened
from fimetric.store import archive
from fimetric.store.files import whole_folder
from fimetric.store.folders import not_there

# 1 described groups by joint gradients whatever the density, 2 had neither probe nor settings of
# what a sample is, and no checksum of its JSON
VERSION = 3
OWN = ("detector.json", "detector.safetensors")
OF_DENSITY, OF_LENGTH = "density.", "length."  # before the names of their arrays
SCORES = "calibration"
COVARIATE, EDGES = f"{SCORES}.lengths", f"{SCORES}.edges"
Arrays = dict[str, NDArray[Any]]


class Description(msgspec.Struct, forbid_unknown_fields=True):
    """What ``detector.json`` says.

    ``density`` and ``length`` are the density's and the trend's own ``state``; ``settings`` are
    those of the objective, and ``attributes`` tell which of them differ where its fingerprint does;
    the norms were made by ``costs``; ``opened`` is how its model was opened, see
    ``fimetric.detection.remembered``.
    """

    objective: str
    seed: int
    settings: dict[str, Any]
    fingerprint: str
    unsteady: tuple[str, ...]
    probe: Probe | None
    spec: Spec | None
    batch_size: int | None
    group_size: int
    split_seed: int
    density: dict[str, Any]
    attributes: dict[str, str] | None = None
    costs: dict[str, float] | None = None
    opened: Opened | None = None
    length: dict[str, Any] | None = None  # there are detectors without, and of one length alone


KIND = archive.Kind(
    "detector", VERSION, Description, "fit and save the detector again with this release"
)


def packed(judge: Judge) -> tuple[Arrays, dict[str, Any]]:
    """Return all arrays of what a detector has learned, and what is said of them."""
    assert judge.calibration is not None
    of_density, density = judge.density.state()
    of_length, length = ({}, None) if judge.trend is None else judge.trend.state()
    arrays = {f"{OF_DENSITY}{name}": x for name, x in of_density.items()}
    arrays |= {f"{OF_LENGTH}{name}": x for name, x in of_length.items()}
    arrays[SCORES] = judge.calibration.scores
    if judge.calibration.covariate is not None:
        arrays |= {COVARIATE: judge.calibration.covariate, EDGES: judge.calibration.edges}
    return arrays, {"density": density, "length": length}


def write(folder: str | Path, description: Description, arrays: Arrays, overwrite: bool) -> None:
    """Write a detector's description and arrays, all or none.

    Raises:
        FileExistsError: where the folder exists and ``overwrite`` is False.
    """
    with whole_folder(folder, overwrite, OWN) as place:
        KIND.write(place, description, archive.pack(arrays))


def read(folder: Path) -> tuple[Description, Arrays]:
    """Return the description and all arrays that ``write`` wrote.

    Raises:
        FileNotFoundError: where there is no detector.
        ValueError: for a damaged folder or another version.
    """  # noqa: DOC501  (damaged() makes it)
    if not (folder / "detector.json").exists():
        said = not_there(folder, "no detector", "a detector")
        raise FileNotFoundError(f"{said} (detector.json is missing)")
    description, payload = KIND.read(folder)
    arrays = archive.unpack(payload or b"", folder / "detector.safetensors", KIND.again)
    if SCORES not in arrays:
        raise damaged(folder, "it has no calibration scores")
    return description, arrays


def damaged(folder: Path, why: object) -> ValueError:
    """Return what to raise of a folder that is no whole detector."""
    return KIND.damaged(folder / "detector.json", why)


def refuse_another(folder: Path, description: Description, objective: Objective) -> None:
    """Refuse an objective that the detector in a folder was not fitted with.

    Raises:
        ValueError: saying what it was fitted with.
    """
    if other := difference(description, objective, attributes=description.attributes):
        raise ValueError(
            f"{folder} was fitted with {other}. Load it with the model and the objective it "
            "was fitted with, or fit a new detector"
        )


def judge_of(description: Description, arrays: Arrays) -> Judge:
    """Return what ``packed`` was given."""
    density, trend = from_state(_named(arrays, OF_DENSITY), description.density), None
    if description.length is not None:
        trend = LengthTrend.from_state(_named(arrays, OF_LENGTH), description.length)
    if COVARIATE not in arrays:  # an earlier release kept no lengths
        return Judge(density, trend, Calibration(arrays[SCORES]))
    calibration = Calibration.in_bins(arrays[SCORES], arrays[COVARIATE], arrays[EDGES])
    return Judge(density, trend, calibration)


def _named(arrays: Arrays, start: str) -> Arrays:
    return {n.removeprefix(start): x for n, x in arrays.items() if n.startswith(start)}


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Raise what is wrong with the contents of a folder as damage to it.

    Raises:
        ValueError: in place of a KeyError, TypeError, AttributeError or ValueError.
    """  # noqa: DOC501  (damaged() makes it)
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise damaged(folder, error) from error
