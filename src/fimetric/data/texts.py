"""Texts as a data set: strings in memory, which an objective makes tensors of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, Self

from torch import Tensor

from fimetric.data.batch import Batch
from fimetric.data.kinds import TEXTS
from fimetric.data.prepared import Prepare, prepared, refuse_no_text
from fimetric.data.samples import Kept, Samples
from fimetric.data.spec import Spec
from fimetric.data.values import TOKENISE


class Texts(Samples):
    """Creates a data set of N texts, each with an id.

    An item is ``{"text": str, "id": str}``, with what is kept beside it.

    Arguments:
        texts: N strings that are not empty.
        ids, name, kept: see ``Samples``.

    Raises:
        ValueError: for an empty text, no texts, or another number of ids.
        TypeError: for what is no text.
    """

    columns = None
    pictures = False

    def __init__(
        self,
        texts: Sequence[str],
        ids: Sequence[str] | None = None,
        name: str = "texts",
        *,
        kept: Kept | None = None,
    ) -> None:
        for i, text in enumerate(texts):
            refuse_no_text(text, f"{name}: text {i}")
        self.texts = list(texts)
        self._called(len(self.texts), ids, name, kept)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return text and id; an index out of range raises IndexError, so that iteration ends."""
        return {"text": self.texts[index], **self._beside(index)}

    @property
    def values(self) -> Tensor:
        """Texts have none.

        Raises:
            TypeError: always, saying what to do.
        """
        self._refuse_numbers()

    @property
    def shape(self) -> tuple[int, ...]:
        """Texts have none.

        Raises:
            TypeError: always, saying what to do.
        """
        self._refuse_numbers()

    @property
    def spec(self) -> Spec:
        """Texts, whatever their length."""
        return Spec(TEXTS)

    def tensor(self, indices: Sequence[int] | Tensor | None = None) -> Tensor:
        """Texts have none.

        Raises:
            TypeError: always, saying what to do.
        """
        self._refuse_numbers()

    def raw(self, rows: Iterable[int]) -> list[str]:
        """Return some of the texts."""
        return [self.texts[i] for i in rows]

    def parts(self, rows: Sequence[int], prepare: Prepare | None) -> Iterator[Batch]:
        """Yield some texts as a batch; see ``Samples``.

        Raises:
            TypeError: where nothing prepares them.
        """
        if prepare is None:
            self._refuse_numbers()
        ids, kept = self._chosen(rows)
        yield prepared(self.raw(rows), ids, kept, prepare)

    def _of(self, rows: list[int], ids: list[str], kept: dict[str, list[Any]]) -> Self:
        return type(self)(self.raw(rows), ids, self.name, kept=kept)

    def _refuse_numbers(self) -> NoReturn:
        raise TypeError(
            f"{self.name} holds texts, which are no numbers before an objective prepares them; "
            f"take a model of texts, or {TOKENISE}"
        )


def as_texts(samples: Samples) -> Texts:
    """Return samples that are texts.

    Raises:
        TypeError: for others.
    """
    if not isinstance(samples, Texts):
        raise TypeError(
            f"{samples.name} holds no texts, and the model is one of texts; give strings, or a "
            "table with a column of them"
        )
    return samples
