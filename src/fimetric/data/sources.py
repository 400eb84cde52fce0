"""Named data sets, files and folders, all opened by ``load``."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from fimetric.arguments import folder_of
from fimetric.data import bundled, images, sounds
from fimetric.data.arrays import from_array, read_array
from fimetric.data.asked import Asked
from fimetric.data.clips import Clips, told
from fimetric.data.folders import Kind, files_of, visible
from fimetric.data.hub import from_hub, looks_like_a_name
from fimetric.data.images import Size
from fimetric.data.names import printable
from fimetric.data.parquet import from_parquet
from fimetric.data.records import SUFFIXES, from_records
from fimetric.data.samples import Samples
from fimetric.data.shards import table_files
from fimetric.data.writings import from_lines, from_texts, line_files

SOUNDS, TEXTS = Kind("sounds", sounds.SUFFIXES), Kind("texts", (".txt",))
ARRAYS = (".npy", ".npz")
FILES = {".parquet": from_parquet, **dict.fromkeys(SUFFIXES, from_records), ".txt": from_lines}
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")


def load(
    source: str | Path,
    split: str = "test",
    *,
    column: str | None = None,
    limit: int | None = None,
    size: Size | None = None,
    channels: int | None = None,
    rate: int | None = None,
) -> Samples:
    """Return a data set: pictures, numbers, texts (``Texts``) or clips of sound (``Clips``).

    Columns ``label``, ``labels``, ``prompt`` and ``source`` of a table are kept beside the data,
    ``id`` or ``path`` names its rows. What does not concern the kind of data is refused.

    Arguments:
        source: The first of these that fits: an existing path, see below; ``digits``, ``patches``
            or ``letters``, which need no file; a folder in the one that the environment variable
            FIMETRIC_DATA names; a data set of the Hugging Face hub, as ``name``, ``owner/name`` or
            with ``:configuration``.

            Of tables (parquet, ``.jsonl``, ``.csv``, ``.tsv``; folders of ``<split>.csv`` and the
            like, or of shards as the hub lays them out) the data are the pictures, sounds or texts
            of a column, or else the rows of all columns of numbers. A ``.txt`` file has one text a
            line; of a folder of them each file is a text. Pictures and sounds (``.wav``, ``.flac``,
            ``.ogg``, ``.mp3``) are files, or folders of files in natural order; ``.npy`` and
            ``.npz`` files hold uint8 pictures or floats.

            Pictures are turned as EXIF says; several channels of a sound are mixed by their mean.
            Files of another kind, hidden ones, and further frames of a file are left out.
        split: ``train``, ``validation`` or ``test``. A source without splits is the same for every
            split.
        column: The column that holds the samples, or the array of an archive. Without it the one
            of a known name, such as ``image``, ``audio`` or ``text``, or the only column of texts.
        limit: Take the first so many samples.
        size: Resize pictures bilinearly to this side, or (height, width). Without it, grey pictures
            of 28x28 become 32x32 and all others stay as they are.
        channels: 1 for grey (luminance), 3 for RGB. Without it they stay as they are.
        rate: Resample sounds to so many values a second. Without it they must have one rate.

    Raises:
        FileNotFoundError: for a path or name that leads nowhere, or a hub that cannot be reached.
        PermissionError: for a gated data set of the hub.
        ImportError: for sounds where soundfile is not installed.
        ValueError: for a damaged, empty or pickled file, an unknown split, samples that cannot be
            told, pictures of several sizes or above 256 MiB, sounds of several rates, or a value
            that is missing or not finite. The message names it and says what to do.
    """
    return opened(source, split, Asked(limit, size, channels, column, rate))


def opened(source: str | Path, split: str, asked: Asked) -> Samples:
    """Return a data set; see ``load``.

    Raises:
        FileNotFoundError: see ``load``.
        ValueError: see ``load``.
    """
    asked.check()
    path = folder_of(source, "source").expanduser()
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{source} is a pickle by its name, and reading one can run any code; "
            "store arrays as .npy or .npz, pictures as files"
        )
    if path.exists():
        return _from_path(path, split, asked)
    if str(source) in bundled.NAMES:
        asked.refuse_others("size channels", f"{source}, which holds pictures")
        found = from_array(bundled.load(str(source), split), str(source), asked)
        return Samples(
            found.values, [f"{source}/{split}/{i}" for i in range(len(found))], str(source)
        )
    root = os.environ.get("FIMETRIC_DATA")
    if root and (Path(root) / source).exists():
        return _from_path(Path(root) / source, split, asked)
    if path.suffix or not looks_like_a_name(str(source)):
        raise FileNotFoundError(f"there is no {printable(source)}; give an existing file or folder")
    return from_hub(str(source), split, asked, _nowhere(str(source), root))


def _nowhere(name: str, root: str | None) -> str:
    """Return in words where a name was looked for, and which there is like it."""
    folders = [entry.name for entry in Path(root).iterdir()] if root and Path(root).is_dir() else []
    like = difflib.get_close_matches(name, [*bundled.NAMES, *folders], 1)
    return (
        f"{name} is no path, none of {', '.join(bundled.NAMES)}, no folder in FIMETRIC_DATA "
        f"({root or 'not set'}){f' (there is {like[0]})' if like else ''}"
    )


def _from_path(path: Path, split: str, asked: Asked) -> Samples:
    if path.is_dir():
        return _from_folder(path, split, asked)
    suffix, where, name = path.suffix.lower(), printable(path), printable(path.stem)
    if not path.is_file():
        raise ValueError(f"{where} is a pipe or device; give a file or folder")
    if path.stat().st_size == 0:
        raise ValueError(f"{where} is empty")
    if suffix in ARRAYS:
        return from_array(read_array(path, asked.column), name, asked)
    if suffix in FILES:
        return FILES[suffix]([path], name, asked)
    if suffix in images.suffixes() + sounds.SUFFIXES:
        read = _of_sounds if suffix in sounds.SUFFIXES else _of_pictures
        return read([path], [printable(path.name)], name, asked)
    raise ValueError(
        f"{where} is of no known kind; known are {', '.join(FILES)}, .npy, .npz, "
        f"sounds ({', '.join(sounds.SUFFIXES)}) and pictures ({', '.join(images.suffixes())})"
    )


def _from_folder(path: Path, split: str, asked: Asked) -> Samples:
    """Return what a folder holds: tables of parquet, pictures, sounds, other tables, or texts.

    Raises:
        ValueError: for pictures and sounds in one folder.
    """
    name = printable(path.name or path.resolve().name)
    tables = table_files(path, split)
    if tables is not None:
        return from_parquet(tables, printable(path.resolve().name), asked)
    found = {file.suffix.lower() for file in visible(path)}
    if found & {*SOUNDS.suffixes}:
        if found & {*images.suffixes()}:
            raise ValueError(
                f"{printable(path)} holds pictures and sounds; name a folder or file of one kind"
            )
        return _of_files(SOUNDS, path, split, name, asked)
    if not found & {*images.suffixes()}:
        for suffix in SUFFIXES:
            tables = _tables(path, split, suffix, ".txt" in found)
            if tables is not None:
                return from_records(tables, name, asked)
        files = line_files(path, split)
        if files is not None:
            return from_lines(files, name, asked)
        if ".txt" in found:
            return _of_files(TEXTS, path, split, name, asked)
    return _of_files(Kind("pictures", images.suffixes()), path, split, name, asked)


def _tables(path: Path, split: str, suffix: str, beside_texts: bool) -> list[Path] | None:
    """Return the tables of a split in a folder; None where it has none.

    Raises:
        ValueError: where none is of this split, which texts beside them may be.
    """
    try:
        return table_files(path, split, suffix)
    except ValueError as error:
        if not beside_texts:
            raise
        raise ValueError(
            f"{printable(path)} holds tables ({suffix}) and texts (.txt), and the tables are read: "
            f"{error}; name a folder or file of one kind"
        ) from error


def _of_files(kind: Kind, path: Path, split: str, name: str, asked: Asked) -> Samples:
    files = files_of(kind, path, split)[: asked.limit]
    read = {SOUNDS.words: _of_sounds, TEXTS.words: from_texts}.get(kind.words, _of_pictures)
    return read(
        files, [printable(file.relative_to(path).as_posix()) for file in files], name, asked
    )


def _of_pictures(files: Sequence[Path], ids: Sequence[str], name: str, asked: Asked) -> Samples:
    asked.refuse_others("size channels", f"{name}, which holds pictures")
    named = ((printable(file), images.decode(file, printable(file))) for file in files)
    return Samples(images.stack(named, asked.size, asked.channels), ids, name)


def _of_sounds(files: Sequence[Path], ids: Sequence[str], name: str, asked: Asked) -> Samples:
    asked.refuse_others("rate", f"{name}, which holds sounds")
    found = [sounds.sound(file, printable(file)) for file in files]
    return told(Clips(found, ids, name, rate=asked.rate), printable(files[0]))
