"""Which columns of a table are the data, and of what kind; which go beside them."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from fimetric.data.keys import (
    ALONE,
    IDS,
    LABELS,
    ROW_NAMES,
    SOUND_NAME,
    TEXT_NAMES,
    TOLD,
    data_key,
)
from fimetric.data.names import first_few, printable
from fimetric.data.telling import once

log = logging.getLogger(__name__)
PICTURE, SOUND, FILES, TEXT, NUMBER = "pictures", "sounds", "bytes", "texts", "numbers"
"""Kinds of columns; of any other kind words say what it holds."""
NAMED = "name it by column={!r}"


@dataclass(frozen=True)
class Columns:
    """The columns of a table, as they are read.

    Arguments:
        kind: of the data.
        data: the names of the columns that hold them, one unless they are numbers.
        kept: those of labels and prompts, and what a loss is told, which go beside them.
        ids: that of the names of samples, if there is one.
        left: those that are left out.
    """

    kind: str
    data: tuple[str, ...]
    kept: tuple[str, ...] = ()
    ids: str | None = None
    left: tuple[str, ...] = ()

    @property
    def read(self) -> list[str]:
        """The columns that are read."""
        return [*self.data, *self.kept, *([] if self.ids is None else [self.ids])]

    def tell(self, where: str, file: str | None = None) -> "Columns":
        """Return it, and log which columns are taken for what, of a file once."""
        what = "a table of numbers" if self.kind == NUMBER else f"{self.kind} {self.data[0]!r}"
        left = f"; left out: {first_few(self.left, 'columns')}" if self.left else ""
        if self.kind != PICTURE or left:
            once(log, logging.INFO, file, "%s is read as %s%s", where, what, left)
        return self


@dataclass(frozen=True)
class Header:
    """The columns of a table before they are told apart.

    Arguments:
        where: what has them, for messages.
        kinds: name -> kind of what it holds.
        examples: name -> the first text of a column and where it is, for messages.
        advice: how one of several is named.
        condition: the column that a loss is told, which goes beside the data.
        texts: whether texts alone are read, so that numbers among them are no data.
    """

    where: str
    kinds: Mapping[str, str]
    examples: Mapping[str, str] = field(default_factory=dict)
    advice: str = NAMED
    condition: str | None = None
    texts: bool = False

    def choose(self, column: str | None = None) -> Columns:
        """Return the columns of data: the one asked for, or told by its name, or the only one.

        Several columns of numbers are the rows of a table.

        Raises:
            ValueError: for a column that is not there or holds no samples; where it cannot be told,
                listing the columns.
        """
        if self.condition is not None:
            self._refuse_none(self.condition)
        if column is not None:
            return self._with(self._asked(column), [column])
        found = self._data()
        pictures = [name for name in ALONE if found.get(name) == PICTURE]
        if pictures:
            return self._with(PICTURE, [data_key(pictures, self.where)])
        if found.get(SOUND_NAME, NUMBER) != NUMBER:
            return self._with(self._asked(SOUND_NAME, (SOUND,)), [SOUND_NAME])
        text = self.text()
        if text is not None:
            return self._with(TEXT, [text])
        self._refuse_no_table(found)
        return self._with(NUMBER, list(found))

    def text(self) -> str | None:
        """Return the column of texts; None where there is none, or it stands among other data.

        Raises:
            ValueError: where several could be.
        """
        found = [name for name, kind in self._data().items() if kind == TEXT]
        known = [name for name in TEXT_NAMES if name in found]
        alone = self.texts or NUMBER not in self._data().values()
        if len(known) == 1 or (len(found) == 1 and alone):
            return (known or found)[0]
        if len(found) > 1 and (known or alone):
            raise ValueError(
                f"it cannot be told which column of {self.where} holds the texts: there are "
                f"{_listed(found)}; {self.advice.format((known or found)[0])}"
            )
        return None

    def texts_of(self, column: str) -> str:
        """Return the column, taken for the texts, and log which others are left out."""
        chosen = self._with(TEXT, [column])
        if chosen.left:
            chosen.tell(self.where)
        return column

    def _data(self) -> dict[str, str]:
        """Return the columns that could be data."""
        beside = {*LABELS, *IDS, *ROW_NAMES, self.condition}
        told = {name for name in TOLD if self.kinds.get(name) == TEXT}
        return {n: kind for n, kind in self.kinds.items() if n not in beside | told}

    def _asked(self, column: str, kinds: Collection[str] = (PICTURE, SOUND, FILES, TEXT)) -> str:
        self._refuse_none(column)
        found = self.kinds[column]
        if found not in kinds:
            advice = "store the bytes of files, or name a folder of them"
            if found == NUMBER:
                advice = "a table of numbers is taken whole, without column="
            raise ValueError(
                f"{self.where}, column {column!r} holds {found}, where {' or '.join(kinds)} are "
                f"samples; {advice}"
            )
        return found

    def _refuse_none(self, column: str) -> None:
        if column not in self.kinds:
            raise ValueError(f"{self.where} has no column {column!r}; it has {_listed(self.kinds)}")

    def _with(self, kind: str, data: list[str]) -> Columns:
        texts = [name for name in TOLD if self.kinds.get(name) == TEXT]
        beside = {*LABELS, *texts, self.condition}
        kept = [name for name in self.kinds if name in beside and name not in data]
        own = [name for name in (*IDS, *ROW_NAMES) if name in self.kinds and name not in data]
        used = {*data, *kept, *own}
        left = tuple(name for name in self.kinds if name not in used)
        return Columns(kind, tuple(data), tuple(kept), own[0] if own else None, left)

    def _refuse_no_table(self, found: Mapping[str, str]) -> None:
        """Refuse columns that are no rows of numbers.

        Raises:
            ValueError: naming those that are none, or what there is.
        """
        numbers = [name for name, kind in found.items() if kind == NUMBER]
        others = [name for name in found if name not in numbers]
        texts = [name for name in others if found[name] == TEXT]
        if not numbers:
            raise ValueError(
                f"{self.where} has no column 'image'; it has {_listed(self.kinds)}: no pictures, "
                "no sounds, no texts, and not several columns of numbers"
            )
        if others:
            name = others[0]
            text = f", or, for its texts, {self.advice.format(texts[0])}" if texts else ""
            raise ValueError(
                f"{self.where}, column {name!r} holds {found[name]}{self.examples.get(name, '')} "
                f"among columns of numbers ({first_few(numbers, 'columns')}); a table is of "
                f"numbers alone: leave out {_listed(others)}, or make numbers of it, for example "
                f"by pandas.get_dummies{text}"
            )
        if len(numbers) == 1:
            raise ValueError(
                f"{self.where} has no column 'image'; it has {_listed(self.kinds)}: one column of "
                "numbers, which may be one sample as well; store it as a .npy file of shape (N, 1)"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(printable(name) or "''" for name in names) or "none"
