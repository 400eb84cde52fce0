"""What a folder holds, by the files that the parts of this package write into theirs."""

from pathlib import Path

from fimetric.arguments import folder_of
from fimetric.store.files import refuse_file

KNOWN = {
    "detector.json": ("a detector", "fimetric.Detector.load"),
    "features.json": ("a table of features", "fimetric.Features.load"),
    "config.json": ("a model", "fimetric.models.load"),
}


def not_there(folder: Path, what: str, is_a: str) -> str:
    """Return what to say of a folder that is not what it was named as.

    Arguments:
        folder: the folder.
        what: that it should hold, and does not.
        is_a: what such a folder is, in words.
    """
    if not folder.exists():
        return f"{folder} holds {what}: there is no such folder"
    if not folder.is_dir():
        return f"{folder} holds {what}: it is a file, and {is_a} is a folder"
    for file, (kind, reader) in KNOWN.items():
        if (folder / file).is_file():
            return f"{folder} holds {what}: it is {kind}: {reader} reads it"
    return f"{folder} holds {what}"


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
