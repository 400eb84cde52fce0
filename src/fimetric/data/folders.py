"""Folders of files that are a sample each: which are read, in which order, what is left out."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fimetric.data.names import first_few, natural, printable
from fimetric.data.splits import refuse_unknown, split_named
from fimetric.data.telling import once

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """What files are read of: pictures, sounds or texts, and the suffixes that they have."""

    words: str
    suffixes: tuple[str, ...]


def files_of(kind: Kind, folder: Path, split: str) -> list[Path]:
    """Return the files of a kind and split below a folder, in natural order.

    Hidden files and folders do not count. A folder ``train`` or the like is a split where it stands
    alone, or with another split, or has classes inside; beside folders that are none it is a class.
    What is left out is logged with its number.

    Raises:
        ValueError: where there are none, or no such split.
    """
    files = _Files(kind, folder)
    splits = _splits(folder, files)
    chosen = files.found
    if splits:
        split = split_named(split) or split
        refuse_unknown(printable(folder), split, splits)
        chosen = [file for file in chosen if _top(file, folder) in splits[split]]
        named = {name for names in splits.values() for name in names}
        outside = sum(_top(file, folder) not in named for file in files.found)
        if outside:
            once(
                log,
                logging.WARNING,
                printable(folder),
                "%d %s of %s lie outside of %s: left out",
                outside,
                kind.words,
                printable(folder),
                ", ".join(f"{name}/" for name in sorted(named)),
            )
    else:
        where = printable(folder)
        once(log, logging.INFO, where, "%s has no splits: all its %s are taken", where, kind.words)
    files.tell()
    if not chosen:
        raise ValueError(f"{printable(folder)} holds {files.missing()}")
    return chosen


class _Files:
    """The files of a kind below a folder, and a count of all others."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind, self.folder, self.others = kind, folder, Counter[str]()
        self.found: list[Path] = []
        self.tables: list[str] = []  # parquet files that no split is told of
        for file in sorted(visible(folder), key=lambda file: natural(file.relative_to(folder))):
            if not file.is_file():
                self.others["pipes, devices or broken links"] += 1
            elif file.suffix.lower() in kind.suffixes:
                self.found.append(file)
            else:
                self.others[printable(file.suffix) or "no suffix"] += 1
                if file.suffix.lower() == ".parquet":
                    self.tables.append(printable(file.relative_to(folder)))

    def tell(self) -> None:
        """Log how many files are of another kind."""
        if self.others:
            once(
                log,
                logging.WARNING,
                printable(self.folder),
                "%d files in %s are no %s that can be read, and are left out (%s)",
                self.others.total(),
                printable(self.folder),
                self.kind.words,
                first_few([f"{kind}: {n}" for kind, n in self.others.most_common()], "kinds"),
            )

    def missing(self) -> str:
        """Return what to say where there is nothing to read."""
        wanted = f"{self.kind.words} ({', '.join(self.kind.suffixes)})"
        if not self.tables:
            return f"neither parquet files nor {wanted}, nor tables, texts or sounds in their place"
        return (
            f"no {wanted}, and parquet files of no split by name and place: "
            f"{first_few(self.tables, 'files')}; call them data/train-00000-of-00001.parquet, "
            "test.parquet or the like, or name one of them in place of the folder"
        )


def visible(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all that is no folder below one, through links too; hidden names are passed over."""
    here = folder.resolve()
    if here in above:
        return  # a link to a folder above
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from visible(entry, (*above, here))
        else:
            yield entry


def _top(file: Path, folder: Path) -> str:
    """Return the name of the subfolder that a file lies in, empty for the folder itself."""
    parts = file.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def _splits(folder: Path, files: _Files) -> dict[str, set[str]]:
    """Return split -> names of subfolders, in the order of the splits; empty where all is one."""
    tops = {_top(file, folder) for file in files.found}
    tops |= {entry.name for entry in folder.iterdir() if entry.is_dir() and split_named(entry.name)}
    splits: dict[str, set[str]] = {}
    for name in sorted(tops):
        if split := split_named(name):
            splits.setdefault(split, set()).add(name)
    others = sorted(name for name in tops if not split_named(name))
    if len(splits) != 1 or not others:
        return splits
    [names] = splits.values()
    inside = [file for file in files.found if _top(file, folder) in names]
    if inside and all(len(file.relative_to(folder).parts) > 2 for file in inside):
        return splits  # classes inside of it
    once(
        log,
        logging.WARNING,
        printable(folder),
        "%s/ in %s stands beside %s: taken for a class, not for a split",
        ", ".join(sorted(names)),
        printable(folder),
        first_few([f"{name}/" if name else files.kind.words for name in others], "folders"),
    )
    return {}
