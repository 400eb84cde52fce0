"""Data sets of the Hugging Face hub, or of what an earlier call has left of it on this machine."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from fimetric.data import images
from fimetric.data.arrow import Part, collected, header, told_apart
from fimetric.data.asked import Asked
from fimetric.data.columns import FILES, PICTURE
from fimetric.data.names import printable
from fimetric.data.parquet import TAKES
from fimetric.data.samples import Samples

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:.+)?")
ROWS = 1024  # read at a time
PATIENCE = 3.0  # seconds for the hub to answer at all
_SWITCHES = threading.RLock()


class UnreachableError(FileNotFoundError, ConnectionError):
    """A name that is nowhere on this machine, while the hub could not be asked."""


def looks_like_a_name(source: str) -> bool:
    """Return whether the hub could know a source: ``name`` or ``owner/name``.

    Example:
        >>> [looks_like_a_name(s) for s in ("mnist", "ylecun/mnist:plain", "../mnist", "a/b/c")]
        [True, True, False, False]
    """
    return NAME.fullmatch(source) is not None


def from_hub(name: str, split: str, asked: Asked, nowhere: str) -> Samples:
    """Return a data set of the hub; without network what lies in its cache, at once.

    Arguments:
        name: of the data set, with ``:configuration`` where it has several.
        split: of it.
        asked: what is asked of it.
        nowhere: what to say of the places where the name has been looked for before.

    Raises:
        FileNotFoundError: where the hub does not know the name; ``UnreachableError`` where it could
            not be asked.
        PermissionError: for a gated data set.
        ValueError: for one that has no such split, or cannot be read.
    """  # noqa: DOC501  (_told() makes them)
    import datasets

    where, _, configuration = name.partition(":")
    try:
        with _without_retries():
            table = datasets.load_dataset(where, configuration or None, split=split)
    except Exception as error:  # a dozen kinds, of several libraries
        raise _told(error, name, split, nowhere) from error
    table = table.select(range(min(len(table), asked.limit or len(table))))
    return read(table, name, asked)


def read(table: Any, name: str, asked: Asked) -> Samples:
    """Return what a Hugging Face data set holds, of which files are read that it names.

    Arguments:
        table: the set.
        name: what it is called.
        asked: what is asked of it.

    Raises:
        ValueError: where it cannot be told what the data are, or a value will not do.
    """
    import datasets

    chosen = header(table.features.arrow_schema, name, asked.condition).choose(asked.column)
    arrow = table.select_columns(chosen.read).with_format("arrow")
    filled = datasets.table.embed_table_storage
    parts = (Part(name, i, filled(arrow[i : i + ROWS])) for i in range(0, len(arrow), ROWS))
    if chosen.kind == FILES and len(arrow):
        chosen = told_apart(chosen, Part(name, 0, arrow[:1]))
    chosen.tell(name)
    asked.refuse_others(TAKES.get(chosen.kind, "column"), f"{name}, which holds {chosen.kind}")
    if chosen.kind != PICTURE:
        return collected(parts, chosen, name, asked.rate)
    ids = None if chosen.ids is None else [printable(i) for i in table[chosen.ids]]
    kept = {key: list(table[key]) for key in chosen.kept}
    pictures = _pictures(table, chosen.data[0], name)
    return Samples(images.stack(pictures, asked.size, asked.channels), ids, name, kept=kept)


def _pictures(table: Any, column: str, name: str) -> Iterator[tuple[str, Image.Image]]:
    """Yield the pictures of a column under their names.

    Raises:
        ValueError: naming the row and column of what is no picture.
    """
    import datasets

    feature = table.features[column]
    if not isinstance(feature, datasets.Image):
        raise ValueError(
            f"the hub's {name} keeps {feature} in column {column!r}, and load reads pictures; open "
            "it by datasets.load_dataset, and pass the data set itself in place of its name"
        )
    for i, cell in enumerate(table.cast_column(column, datasets.Image(decode=False))[column]):
        where = f"{name}/{i}, column {column!r}"
        if not (cell and cell["bytes"]):
            yield where, _of_file(feature, cell, where)
            continue
        picture = images.decode(cell["bytes"], where)
        wanted = feature.mode or picture.mode
        yield where, picture if picture.mode == wanted else picture.convert(wanted)


def _of_file(feature: Any, cell: dict[str, Any] | None, where: str) -> Image.Image:
    if not (cell and cell["path"]):
        raise ValueError(f"{where} holds no picture; leave the row out")
    try:
        return feature.decode_example(cell)
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError: a broken PNG
        raise ValueError(
            f"{where} is damaged or no picture ({printable(cell['path'])}); repair or remove it"
        ) from error


@contextmanager
def _without_retries() -> Iterator[None]:
    """Look into the cache alone where the hub does not answer: asking takes half a minute.

    One thread at a time, for the switches are those of the whole process.
    """
    import datasets
    from huggingface_hub import constants

    with _SWITCHES:
        before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
        if not _answers():
            constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _answers() -> bool:
    import datasets
    from huggingface_hub import constants, get_session

    if datasets.config.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # whatever it is, there is no answer
        return False
    return True


def _told(error: Exception, name: str, split: str, nowhere: str) -> Exception:
    """Return what to raise for an error of the hub's libraries."""
    from huggingface_hub import utils

    chain = list(_chain(error))
    if _any(chain, utils.GatedRepoError):
        return PermissionError(
            f"the hub's {name} is gated; accept its conditions on its page and log in there "
            f"(`hf auth login`) ({error})"
        )
    if _any(chain, ConnectionError, TimeoutError, utils.LocalEntryNotFoundError):
        return UnreachableError(
            f"{nowhere}, and the hub cannot be reached ({error}); check the name, or the network"
        )
    if _any(chain, FileNotFoundError, utils.RepositoryNotFoundError):
        return FileNotFoundError(f"{nowhere}, and the hub does not have it ({error})")
    if isinstance(error, ValueError):
        return ValueError(f"the hub's {name} has no split {split!r}, or else: {error}")
    return ValueError(f"the hub's {name} cannot be read ({type(error).__name__}: {error})")


def _any(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(error, kinds) for error in chain)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
