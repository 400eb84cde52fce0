"""Folders of tables, as the Hugging Face hub lays parquet files out: which files are a split."""

import re
from collections.abc import Iterable
from pathlib import Path

from fimetric.data.names import first_few, natural, printable
from fimetric.data.splits import SYNONYMS, refuse_unknown, split_named

SHARD = re.compile(r"(?P<name>.+?)-(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]+)?")
SPLITS = set(SYNONYMS)


def table_files(folder: Path, split: str, suffix: str = ".parquet") -> list[Path] | None:
    """Return the tables of a split in natural order, or None where there are none at all.

    They lie in the folder itself, in its subfolder ``data``, or in one subfolder named after a
    configuration; as ``<split>.parquet``, ``<split>-00000-of-00002.parquet`` or the like, or in a
    subfolder ``<split>``; those of another suffix likewise.

    Raises:
        ValueError: for a split that is not there, several configurations, or a missing shard.
    """
    if splits := _splits(folder, suffix):
        return _whole(folder, split, splits)
    below = {
        place: splits
        for place in _folders(folder)
        if SPLITS & (splits := _splits(place, suffix)).keys()
    }
    configurations = {place: below[place] for place in below if place.name == "data"} or below
    if len(configurations) > 1:
        raise ValueError(
            f"{printable(folder)} has several configurations; name the folder of one of them: "
            f"{', '.join(printable(place.name) for place in configurations)}"
        )
    found = (_whole(place, split, splits) for place, splits in configurations.items())
    return next(found, None)


def _folders(place: Path) -> list[Path]:
    found = [entry for entry in place.iterdir() if entry.is_dir()] if place.is_dir() else []
    return sorted((entry for entry in found if not entry.name.startswith(".")), key=natural)


def _tables(place: Path, suffix: str) -> Iterable[Path]:
    for file in place.iterdir() if place.is_dir() else ():
        wanted = file.suffix.lower() == suffix and file.is_file()
        if wanted and not file.name.startswith(".") and file.stem != "metadata":  # of pictures
            yield file


def _splits(place: Path, suffix: str) -> dict[str, list[Path]]:
    """Return split -> its files in one place."""
    splits: dict[str, list[Path]] = {}
    for file in _tables(place, suffix):
        splits.setdefault(_split_of(file.stem), []).append(file)
    for below in _folders(place):
        if split := split_named(below.name):
            splits.setdefault(split, []).extend(_tables(below, suffix))
    found = {split: sorted(files, key=natural) for split, files in sorted(splits.items())}
    return {split: files for split, files in found.items() if files}


def _split_of(stem: str) -> str:
    """Return the split that a file belongs to, or its own name where that tells none.

    Example:
        >>> [_split_of(stem) for stem in ("val-00000-of-00002", "train_3", "mine")]
        ['validation', 'train', 'mine']
    """
    shard = SHARD.fullmatch(stem)
    name = shard["name"] if shard else re.sub(r"[-_.]\d+$", "", stem)
    return split_named(name) or (name if shard else stem)


def _whole(place: Path, split: str, splits: dict[str, list[Path]]) -> list[Path]:
    """Return the files of a split, none missing and none twice.

    Raises:
        ValueError: where the split is unknown, lacks files, or is there in several versions.
    """
    split = split_named(split) or split
    refuse_unknown(printable(place), split, splits)
    files = splits[split]
    shards = [SHARD.fullmatch(file.stem) for file in files]
    numbered = [shard for shard in shards if shard]
    if not numbered:
        return files
    totals = {int(shard["total"]) for shard in numbered}
    if len(totals) > 1 or len(numbered) < len(files):
        raise ValueError(
            f"{printable(place)} has several versions of the split {split!r}: "
            f"{first_few([printable(file.name) for file in files], 'files')}; leave one"
        )
    numbers = {int(shard["number"]) for shard in numbered}
    first = 1 if max(totals) in numbers else 0
    missing = set(range(first, first + max(totals))) - numbers
    if missing:
        raise ValueError(
            f"{printable(place)} lacks {len(missing)} of the {max(totals)} files of the split "
            f"{split!r}, the first is number {min(missing)}; copy them, too"
        )
    return files
