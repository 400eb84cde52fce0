"""What is asked of a source of data besides its split, and which of it concerns what it holds."""

from dataclasses import dataclass, fields
from typing import Any

from fimetric.arguments import shown, whole_or_none
from fimetric.data import images
from fimetric.data.images import Size


@dataclass(frozen=True)
class Asked:
    """The arguments of ``load``, as they are documented there, and the column a loss is told."""

    limit: int | None = None
    size: Size | None = None
    channels: int | None = None
    column: str | None = None
    rate: int | None = None
    condition: str | None = None

    def check(self) -> "Asked":
        """Return it, where all can be asked of some source.

        Raises:
            TypeError: for a column that is no name, or a number that is none.
            ValueError: for one that is out of range.
        """
        whole_or_none("limit", self.limit)
        images.check_target(self.size, self.channels)
        if self.column is not None and not isinstance(self.column, str):
            raise TypeError(f"column must be the name of a column, not {shown(self.column)}")
        whole_or_none("rate", self.rate)
        return self

    def refuse_others(self, takes: str, what: str) -> None:
        """Refuse what does not concern a kind of source, so that nothing is swallowed.

        Arguments:
            takes: names of the arguments that concern it, besides ``limit``.
            what: the source and what it holds.

        Raises:
            ValueError: naming the others.
        """
        given: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in given.items():
            if value is not None and name not in ("limit", "condition", *takes.split()):
                raise ValueError(f"{name}={value!r} does not concern {what}; leave it out")
