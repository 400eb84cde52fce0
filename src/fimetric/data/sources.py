"""Named data sets, files and folders, all opened by ``load``."""

import difflib
import os
from pathlib import Path

from fimetric.arguments import folder_of, whole_or_none
from fimetric.data import bundled, images
from fimetric.data.arrays import from_array, read_array
from fimetric.data.folders import picture_files
from fimetric.data.hub import from_hub, looks_like_a_name
from fimetric.data.images import Size
from fimetric.data.names import printable
from fimetric.data.parquet import from_parquet
from fimetric.data.samples import Samples
from fimetric.data.shards import parquet_files

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")


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
        source: The first of these that fits: an existing path (a folder of parquet
            files, ``<split>.parquet`` or shards as the hub lays them out; a parquet file; a folder
            of pictures, read in natural order; a picture; a ``.npy`` or ``.npz`` file); ``digits``,
            ``patches`` or ``letters``, which need no file; a folder in the one that the environment
            variable FIMETRIC_DATA names; a data set of the Hugging Face hub, as ``name``,
            ``owner/name`` or with ``:configuration``. Pictures are turned as EXIF says; files that
            are no pictures, hidden ones, and further frames of a file are left out.
        split: ``train``, ``validation`` or ``test``. A source without splits is the same for every
            split.
        limit: Take the first so many samples.
        size: Resize pictures bilinearly to this side, or (height, width). Without it, grey pictures
            of 28x28 become 32x32 and all others stay as they are.
        channels: 1 for grey (luminance), 3 for RGB. Without it they stay as they are.

    Raises:
        FileNotFoundError: for a path or name that leads nowhere, or a hub that cannot be reached.
        PermissionError: for a gated data set of the hub.
        ValueError: for a damaged, empty or pickled file, an unknown split, pictures of several
            sizes or above 256 MiB, or a value that is not finite. The message names it and says
            what to do.
    """
    whole_or_none("limit", limit)
    images.check_target(size, channels)
    path = folder_of(source, "source").expanduser()
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{source} is a pickle by its name, and reading one can run any code; "
            "store arrays as .npy or .npz, pictures as files"
        )
    if path.exists():
        return _from_path(path, split, limit, size, channels)
    if str(source) in bundled.NAMES:
        found = from_array(bundled.load(str(source), split), str(source), limit, size, channels)
        return Samples(
            found.values, [f"{source}/{split}/{i}" for i in range(len(found))], str(source)
        )
    root = os.environ.get("FIMETRIC_DATA")
    if root and (Path(root) / source).exists():
        return _from_path(Path(root) / source, split, limit, size, channels)
    if path.suffix or not looks_like_a_name(str(source)):
        raise FileNotFoundError(f"there is no {printable(source)}; give an existing file or folder")
    return from_hub(str(source), split, limit, size, channels, _nowhere(str(source), root))


def _nowhere(name: str, root: str | None) -> str:
    """Return in words where a name was looked for, and which there is like it."""
    folders = [entry.name for entry in Path(root).iterdir()] if root and Path(root).is_dir() else []
    like = difflib.get_close_matches(name, [*bundled.NAMES, *folders], 1)
    return (
        f"{name} is no path, none of {', '.join(bundled.NAMES)}, no folder in FIMETRIC_DATA "
        f"({root or 'not set'}){f' (there is {like[0]})' if like else ''}"
    )


def _from_path(
    path: Path, split: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    if path.is_dir():
        tables = parquet_files(path, split)
        if tables is not None:
            return from_parquet(tables, printable(path.resolve().name), limit, size, channels)
        return _from_pictures(path, split, limit, size, channels)
    suffix, where = path.suffix.lower(), printable(path)
    if not path.is_file():
        raise ValueError(f"{where} is a pipe or device; give a file or folder")
    if path.stat().st_size == 0:
        raise ValueError(f"{where} is empty")
    if suffix == ".parquet":
        return from_parquet([path], printable(path.stem), limit, size, channels)
    if suffix in (".npy", ".npz"):
        return from_array(read_array(path), printable(path.stem), limit, size, channels)
    if suffix in images.suffixes():
        stacked = images.stack([(where, images.decode(path, where))], size, channels)
        return Samples(stacked, [printable(path.name)], printable(path.stem))
    raise ValueError(
        f"{where} is of no known kind; known are parquet, npy, npz and pictures "
        f"({', '.join(images.suffixes())})"
    )


def _from_pictures(
    path: Path, split: str, limit: int | None, size: Size | None, channels: int | None
) -> Samples:
    files = picture_files(path, split)[:limit]
    named = ((printable(file), images.decode(file, printable(file))) for file in files)
    ids = [printable(file.relative_to(path).as_posix()) for file in files]
    return Samples(
        images.stack(named, size, channels), ids, printable(path.name or path.resolve().name)
    )
