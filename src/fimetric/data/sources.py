"""Named data sets, files and folders, all opened by ``load``."""

import itertools
import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fimetric.arguments import folder_of, whole_or_none
from fimetric.data import bundled, images
from fimetric.data.images import Size
from fimetric.data.samples import Samples

log = logging.getLogger(__name__)
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
SPLITS = ("train", "validation", "test")


def load(
    source: str | Path,
    split: str = "test",
    *,
    limit: int | None = None,
    size: Size | None = None,
    channels: int | None = None,
) -> Samples:
    """Return a data set.

    Arguments:
        source: The first of these that fits: an existing path (a folder with ``<split>.parquet``, a
            parquet file, a folder of pictures, a picture, a ``.npy`` or ``.npz`` file); ``digits``,
            ``patches`` or ``letters``, which need no file; a folder in the one that the environment
            variable FIMETRIC_DATA names; a data set of the Hugging Face hub, as ``name`` or
            ``name:configuration``.
        split: ``train`` or ``test``. A source without splits is the same for every split.
        limit: Take the first so many samples.
        size: Resize pictures bilinearly to this side, or (height, width). Without it, grey pictures
            of 28x28 become 32x32 and all others stay as they are.
        channels: 1 for grey (luminance), 3 for RGB. Without it they stay as they are.

    Raises:
        FileNotFoundError: for a path or name that leads nowhere.
        ValueError: for a damaged, empty or pickled file, an unknown split, pictures of several
            sizes, or a value that is not finite. The message names it and says what to do.
    """
    whole_or_none("limit", limit)
    if isinstance(size, str):
        raise TypeError(f"size must be a side, or (height, width), in pixels, not {size!r}")
    path = folder_of(source, "source").expanduser()
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{source} is a pickle by its name, and reading one can run any code; "
            "store arrays as .npy or .npz, pictures as files"
        )
    if path.exists():
        return _from_path(path, split, limit, size, channels)
    if str(source) in bundled.NAMES:
        found = _from_array(bundled.load(str(source), split), str(source), limit, size, channels)
        return Samples(
            found.values, [f"{source}/{split}/{i}" for i in range(len(found))], str(source)
        )
    root = os.environ.get("FIMETRIC_DATA")
    if root and (Path(root) / source).exists():
        return _from_path(Path(root) / source, split, limit, size, channels)
    if path.suffix or path.is_absolute() or str(source).startswith("."):
        raise FileNotFoundError(f"there is no {source}; give an existing file or folder")
    return _from_hub(str(source), split, limit, size, channels)


def _from_path(
    path: Path, split: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    suffix = path.suffix.lower()
    if path.is_dir():
        tables = sorted(file.stem for file in path.glob("*.parquet"))
        if tables:
            if split not in tables:
                raise ValueError(f"{path} has no split {split!r}; it has {', '.join(tables)}")
            return _from_parquet(
                path / f"{split}.parquet", path.resolve().name, limit, size, channels
            )
        return _from_picture_folder(path, split, limit, size, channels)
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if suffix == ".parquet":
        return _from_parquet(path, path.stem, limit, size, channels)
    if suffix in (".npy", ".npz"):
        return _from_array(_read_array(path), path.stem, limit, size, channels)
    if suffix in images.SUFFIXES:
        stacked = images.stack([(str(path), images.decode(path, str(path)))], size, channels)
        return Samples(stacked, [path.name], path.stem)
    raise ValueError(
        f"{path} is of no known kind; known are parquet, npy, npz and pictures "
        f"({', '.join(images.SUFFIXES)})"
    )


def _from_picture_folder(
    path: Path, split: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    splits = [name for name in SPLITS if (path / name).is_dir()]
    if splits and split not in splits:
        raise ValueError(f"{path} has no split {split!r}; it has {', '.join(splits)}")
    top = path / split if splits else path
    files = sorted(
        file
        for file in top.rglob("*")
        if file.suffix.lower() in images.SUFFIXES and not file.name.startswith(".")
    )[:limit]
    if not files:
        raise ValueError(
            f"{top} holds neither parquet files nor pictures ({', '.join(images.SUFFIXES)})"
        )
    if not splits:
        log.info("%s has no splits: all its pictures are taken", path)
    named = ((str(file), images.decode(file, str(file))) for file in files)
    stacked = images.stack(named, size, channels)
    return Samples(stacked, [file.relative_to(path).as_posix() for file in files], path.name)


def _from_parquet(
    path: Path, name: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            column = _image_column(columns, str(path))
            wanted = [name for name in (column, "id") if name in columns]
            rows: list[dict[str, Any]] = []
            for batch in file.iter_batches(batch_size=1024, columns=wanted):
                rows += batch.to_pylist()
                if limit is not None and len(rows) >= limit:
                    break
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is damaged or no parquet file ({error}); copy it again"
        ) from error
    rows = rows[:limit]
    if not rows:
        raise ValueError(f"{path} has no rows")
    ids = [_id(row, column, f"{name}/{i}") for i, row in enumerate(rows)]
    stacked = images.stack(_parquet_pictures(rows, column, path), size, channels)
    return Samples(stacked, ids, name)


def _image_column(columns: list[str], where: str) -> str:
    for name in ("image", "img"):
        if name in columns:
            return name
    for name, advice in (
        ("text", "tokenise it yourself and pass the tokens"),
        ("audio", "decode it yourself and pass an array of one length"),
    ):
        if name in columns:
            raise ValueError(
                f"{where} has a column {name!r}, and load reads images only; {advice}, "
                "or an iterable of batches, in place of the name"
            )
    raise ValueError(f"{where} has no column 'image'; it has {', '.join(columns)}")


def _id(row: dict[str, Any], column: str, default: str) -> str:
    if row.get("id") is not None:
        return str(row["id"])
    cell = row[column]
    path = cell.get("path") if isinstance(cell, dict) else None
    return str(path or default)


def _parquet_pictures(
    rows: list[dict[str, Any]], column: str, path: Path
) -> Iterator[tuple[str, Image.Image]]:
    for i, row in enumerate(rows):
        cell = row[column]
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        where = f"{path}, row {i}"
        if not isinstance(data, bytes):
            raise ValueError(f"{where}: column {column!r} holds no bytes of a picture")
        yield where, images.decode(data, where)


def _read_array(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as stream:  # ours to close: numpy leaves a damaged archive open
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                return found
            names = found.files
            for key in ("x", "images", *(names if len(names) == 1 else ())):
                if key in names:
                    return found[key]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is damaged, or holds pickled objects, which are not read ({error}); "
            "store a plain array by numpy.save or numpy.savez"
        ) from error
    raise ValueError(f"{path} has no array 'x' or 'images'; it has {', '.join(names) or 'none'}")


def _from_array(
    array: np.ndarray, name: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    if array.ndim < 2 or len(array) == 0:
        raise ValueError(f"{name} is empty or has no sample dimension: shape {array.shape}")
    array = array[:limit]
    if array.dtype == np.uint8:
        stored = images.layout(array, name)
        named = ((f"{name}/{i}", picture) for i, picture in enumerate(images.pictures(stored)))
        return Samples(images.stack(named, size, channels), name=name)
    if array.dtype.kind != "f":
        raise ValueError(f"{name} has values of {array.dtype}; store uint8 images or float data")
    if size is not None or channels is not None:
        raise ValueError(f"{name} is float data, taken as it is: size and channels are for uint8")
    return Samples(torch.from_numpy(array.astype(np.float32)), name=name)


def _from_hub(
    name: str, split: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    import datasets

    try:
        where, _, configuration = name.partition(":")
        table = datasets.load_dataset(where, configuration or None, split=split)
    except ValueError as error:
        raise ValueError(f"the hub's {name} has no split {split!r}, or else: {error}") from error
    except Exception as error:  # a dozen kinds, of several libraries
        raise FileNotFoundError(
            f"{name} is no path, none of {', '.join(bundled.NAMES)}, no folder in FIMETRIC_DATA "
            f"({os.environ.get('FIMETRIC_DATA', 'not set')}), and was not had from the hub: {error}"
        ) from error
    column = _image_column(table.column_names, name)
    table = table.select(range(min(len(table), limit or len(table))))
    ids = [str(i) for i in table["id"]] if "id" in table.column_names else None
    numbers = itertools.count()
    named = ((f"{name}/{next(numbers)}", picture) for picture in table[column])
    return Samples(images.stack(named, size, channels), ids, name)
