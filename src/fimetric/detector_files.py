"""The folder of a detector: detector.json and detector.safetensors, no pickle."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from fimetric.files import whole_folder
from fimetric.folders import not_there

VERSION = 2  # 1 described groups by joint gradients whatever the density
NEEDED = {
    "objective",
    "objective_seed",
    "objective_settings",
    "fingerprint",
    "group_size",
    "seed",
    "density",
}
DAMAGE = (json.JSONDecodeError, UnicodeDecodeError, SafetensorError, KeyError, TypeError, OSError)
Arrays = dict[str, NDArray[Any]]


def write(
    folder: str | Path, description: dict[str, Any], arrays: Arrays, overwrite: bool = False
) -> None:
    """Write a detector's description and arrays, both or none.

    Raises:
        FileExistsError: where the folder exists and ``overwrite`` is False.
    """
    content = safetensors.numpy.save(arrays)
    mark = {"version": VERSION, "sha256": hashlib.sha256(content).hexdigest()}
    with whole_folder(folder, overwrite) as place:
        (place / "detector.json").write_text(json.dumps({**description, **mark}, indent=1))
        (place / "detector.safetensors").write_bytes(content)


def read(folder: Path) -> tuple[dict[str, Any], Arrays]:
    """Return what ``write`` wrote.

    Raises:
        FileNotFoundError: where there is no detector.
        ValueError: for a corrupt folder or an unknown version.
    """
    path = folder / "detector.json"
    if not path.exists():
        said = not_there(folder, "no detector", "a detector")
        raise FileNotFoundError(f"{said} (detector.json is missing)")
    try:
        description = json.loads(path.read_text())
        if description["version"] != VERSION:
            raise ValueError(
                f"{folder} is of version {description['version']}; this fimetric reads {VERSION}. "
                "Install the fimetric that wrote it"
            )
        content = (folder / "detector.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != description["sha256"]:
            raise SafetensorError("detector.safetensors is not what was written")
        arrays = safetensors.numpy.load(content)
        missing = (NEEDED - description.keys()) | ({"calibration"} - arrays.keys())
        if missing:
            raise KeyError(", ".join(sorted(missing)))
    except DAMAGE as error:
        raise corrupt(folder, error) from error
    return description, arrays


def corrupt(folder: Path, error: Exception) -> ValueError:
    """Return what to raise of a folder that is no whole detector."""
    return ValueError(
        f"{folder} is corrupt or truncated ({error!r}); fit and save the detector again"
    )
