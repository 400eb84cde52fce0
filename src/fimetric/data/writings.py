"""Plain texts: files with one text a line, and folders in which each file is a text."""

import logging
from collections.abc import Sequence
from pathlib import Path

from fimetric.data.asked import Asked
from fimetric.data.folders import visible
from fimetric.data.lines import lines, whole
from fimetric.data.names import natural, printable
from fimetric.data.samples import Samples
from fimetric.data.splits import refuse_unknown, split_named
from fimetric.data.telling import once
from fimetric.data.texts import Texts

log = logging.getLogger(__name__)


def from_lines(files: Sequence[Path], name: str, asked: Asked) -> Samples:
    """Return the lines of some files as texts, called by the number of their line from 0 on.

    Lines without a letter are left out, which is logged.

    Raises:
        ValueError: for files without a text, or a line that is none in UTF-8.
    """
    asked.refuse_others("", f"{name}, which holds a text a line")
    texts: list[str] = []
    ids: list[str] = []
    blank = 0
    for i, line in enumerate(line for path in files for _, line in lines(path)):
        if len(texts) == asked.limit:
            break
        if line.strip():
            texts.append(line.rstrip("\r\n"))
            ids.append(f"{name}/{i}")
        else:
            blank += 1
    if not texts:
        raise ValueError(f"{printable(files[0])} holds no text, but {blank} empty lines")
    if blank:
        file = printable(files[0])
        once(log, logging.INFO, file, "%d empty lines of %s are left out", blank, name)
    return Texts(texts, ids, name)


def from_texts(files: Sequence[Path], ids: Sequence[str], name: str, asked: Asked) -> Samples:
    """Return some files as texts, one each.

    Raises:
        ValueError: for one without a text, or that is none in UTF-8.
    """
    asked.refuse_others("", f"{name}, in which each file is a text")
    texts = [whole(file) for file in files]
    for file, text in zip(files, texts, strict=True):
        if not text.strip():
            raise ValueError(f"{printable(file)} holds no text; remove it")
    return Texts(texts, ids, name)


def line_files(folder: Path, split: str) -> list[Path] | None:
    """Return the files of a split where a folder has ``train.txt``, ``test.txt`` or the like.

    One such file among others is a text like them; two of them are splits, whatever else there is.

    Raises:
        ValueError: where there are such files, and none of this split.
    """
    files = [file for file in visible(folder) if file.suffix.lower() == ".txt"]
    top = {file: split_named(file.stem) for file in files if file.parent == folder}
    known = {found for found in top.values() if found}
    others = len(files) - sum(found is not None for found in top.values())
    if not known or (len(known) == 1 and others):
        return None
    split = split_named(split) or split
    refuse_unknown(printable(folder), split, known)
    if others:
        where = printable(folder)
        message = "%d other .txt files of %s belong to no split: left out"
        once(log, logging.WARNING, where, message, others, where)
    return sorted((file for file, found in top.items() if found == split), key=natural)
