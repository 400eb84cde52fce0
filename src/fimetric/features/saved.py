"""The folder of a table: features.json and features.safetensors, no pickle."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from fimetric.data.spec import Spec
from fimetric.features.probe import Probe
from fimetric.store import archive
from fimetric.store.files import whole_folder
from fimetric.store.folders import not_there

VERSION = 2  # 1 had one data dimension, neither a probe nor what a sample is, and joint groups only
ARRAYS = ("values", "losses", "bounds", "numels", "dimensions", "parts")
OWN = ("features.json", "features.safetensors", "data.sha256")
Grouping = Literal["joint", "mean"]


class Description(msgspec.Struct, forbid_unknown_fields=True):
    """What ``features.json`` says of a table; the fields are those of ``Features``."""

    names: tuple[str, ...]
    views: tuple[str, ...]
    ids: tuple[str, ...]
    objective: str
    fingerprint: str
    unsteady: tuple[str, ...]
    seed: int
    group_size: int
    grouping: Grouping
    probe: Probe | None
    spec: Spec | None
    batch_size: int | None
    costs: dict[str, float] | None = None  # there are tables without
    part_names: tuple[str, ...] = ()  # and without these


KIND = archive.Kind("features", VERSION, Description, "extract again")


def write(folder: str | Path, table: Any, overwrite: bool) -> None:
    """Write the fields of a table, all or none.

    Arguments:
        folder: where it goes.
        table: a ``Features``, whose file imports this one.
        overwrite: replace what is there.

    Raises:
        FileExistsError: where the folder exists and ``overwrite`` is False.
    """
    fields = {name: getattr(table, name) for name in Description.__struct_fields__}
    payload = archive.pack({name: getattr(table, name) for name in ARRAYS})
    with whole_folder(folder, overwrite, OWN) as temporary:
        KIND.write(temporary, Description(**fields), payload)


def read(folder: Path) -> dict[str, Any]:
    """Return the fields that ``write`` wrote.

    Raises:
        ValueError: where a file is missing, damaged, of another version or of another table.
    """
    try:
        description, payload = KIND.read(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(
            f"{not_there(folder, 'no saved Features', 'a table of features')} "
            f"({Path(error.filename).name} is missing)"
        ) from error
    arrays = archive.unpack(payload or b"", folder / "features.safetensors", KIND.again)
    return {**msgspec.structs.asdict(description), **arrays}
