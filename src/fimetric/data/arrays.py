"""Arrays in memory and in .npy and .npz files, as data sets."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from fimetric.data import images
from fimetric.data.asked import Asked
from fimetric.data.keys import data_key
from fimetric.data.names import printable
from fimetric.data.samples import Samples

MOST_UNPACKED, MOST_TIMES = 256 << 20, 100  # bytes, and times the stored size


def read_array(path: Path, column: str | None) -> np.ndarray:
    """Return the array of a .npy file, or one of an .npz archive: the data, or what is asked for.

    Raises:
        ValueError: for a damaged file, pickled objects, or an archive in which it cannot be told
            which array is the data; for an array that it does not have.
    """
    where = printable(path)
    _refuse_bomb(path, where)
    with _named(where), path.open("rb") as stream:  # numpy leaves a damaged archive open
        found = np.load(stream, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            if column is not None:
                raise ValueError(f"column={column!r} does not concern {where}, one array")
            return found
        names = found.files
    key = data_key(names, where) if column is None else column
    if key not in names:
        raise ValueError(f"{where} has no array {key!r}; it has {', '.join(names) or 'none'}")
    with _named(where), path.open("rb") as stream:
        return np.load(stream, allow_pickle=False)[key]


def _refuse_bomb(path: Path, where: str) -> None:
    """Refuse an archive that unpacks to far more than it is.

    Raises:
        ValueError: naming the member.
    """
    if not zipfile.is_zipfile(path):
        return
    with _named(where), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:
        if member.file_size > max(MOST_UNPACKED, MOST_TIMES * member.compress_size):
            raise ValueError(
                f"{where}: {member.filename} unpacks to {member.file_size >> 20} MiB, more than "
                f"{MOST_UNPACKED >> 20} MiB and {MOST_TIMES} times its size; store it as .npy"
            )


@contextmanager
def _named(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged headers end in a dozen kinds
        raise ValueError(
            f"{where} is damaged, or holds pickled objects, which are not read ({error}); "
            "store a plain array by numpy.save or numpy.savez"
        ) from error


def from_array(array: np.ndarray, name: str, asked: Asked) -> Samples:
    """Return a data set of uint8 images or float data.

    Raises:
        ValueError: for other numbers, an empty array, or size and channels of float data.
    """
    if array.ndim < 2 or len(array) == 0:
        raise ValueError(f"{name} is empty or has no sample dimension: shape {array.shape}")
    array = array[: asked.limit]
    if array.dtype == np.uint8:
        asked.refuse_others("column size channels", f"{name}, which holds pictures")
        stored = images.layout(array, name)
        named = ((f"{name}/{i}", picture) for i, picture in enumerate(images.pictures(stored)))
        return Samples(images.stack(named, asked.size, asked.channels), name=name)
    if array.dtype.kind != "f":
        raise ValueError(f"{name} has values of {array.dtype}; store uint8 images or float data")
    if asked.size is not None or asked.channels is not None:
        raise ValueError(f"{name} is float data, taken as it is: size and channels are for uint8")
    asked.refuse_others("column", f"{name}, float data taken as they are")
    kind = np.float64 if array.ndim == 2 and array.dtype.itemsize > 4 else np.float32
    return Samples(torch.from_numpy(array.astype(kind)), name=name)
