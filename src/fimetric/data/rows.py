"""Refusals of some rows of a batch: who knows the samples behind the rows calls them by name.

What goes through a model is read in portions and sorted by length, so that the number of a row
tells a user nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fimetric.data.names import first_few

SHOWN = 10  # rows named in a message


class RowsError(Exception):
    """A refusal of some rows of a batch.

    Arguments:
        rows: their numbers.
        after: what is said of them.
        before: what comes before them in that sentence.
    """

    def __init__(self, rows: Sequence[int], after: str, before: str = "") -> None:
        self.rows, self.after, self.before = list(rows), after, before
        numbers = first_few(list(map(str, rows)), "rows", SHOWN)
        super().__init__(f"{before}row{'s' * (len(rows) > 1)} {numbers} of the batch{after}")

    def of(self, ids: Sequence[str]) -> Exception:
        """Return it with the names of the samples in the place of the rows.

        Arguments:
            ids: of the samples of the batch.
        """
        names = first_few([ids[row] for row in self.rows], "samples", SHOWN)
        said = f"{self.before}sample{'s' * (len(self.rows) > 1)} {names}{self.after}"
        return TypeError(said) if isinstance(self, TypeError) else ValueError(said)


class RowError(RowsError, ValueError):
    """A refusal of the values of some rows."""


class RowTypeError(RowsError, TypeError):
    """A refusal of the types of some rows."""


@contextmanager
def samples_named(ids: Sequence[str]) -> Iterator[None]:
    """Name the samples of a batch where its rows are refused within.

    Raises:
        ValueError: for ``RowError``.
        TypeError: for ``RowTypeError``.
    """
    try:
        yield
    except RowsError as error:
        raise error.of(ids) from error
