"""What the measurement of a claim comes to: a verdict, numbers, tables and pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from fimetric.store import archive
from fimetric.store.files import whole_file

Verdict = Literal["holds", "holds in part", "does not hold", "undecided"]


@dataclass(frozen=True)
class Table:
    """A table of text: a title, headings and rows of cells."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return "\n".join([f"{self.title}:", "", *("| " + " | ".join(r) + " |" for r in lines), ""])


@dataclass(frozen=True)
class Picture:
    """A picture in the claim's folder, and what is seen in it."""

    file: str
    caption: str


@dataclass(frozen=True)
class Finding:
    """What was found about one claim, for one model.

    Arguments:
        claim: key in ``fimetric.claims.CLAIMS``.
        title: the claim, as a sentence.
        verdict: whether it holds for this model, by the criterion in the claim's own module.
        because: the criterion and the numbers that decided, in a sentence or two.
        numbers: name -> number, for programs.
        tables, pictures: for people.
        notes: what the reader has to know to read the numbers rightly.
    """

    claim: str
    title: str
    verdict: Verdict
    because: str
    numbers: dict[str, float] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()

    def write(self, path: Path, key: dict[str, Any]) -> None:
        """Write the finding and the key of its study, as JSON, to a ``finding.json``."""
        numbers = {name: _plain(x) for name, x in self.numbers.items()}
        kept = _Kept(study=key, finding=replace(self, numbers={}), numbers=numbers)
        with whole_file(path) as place:
            place.write_bytes(FINDING.encode(kept))

    @classmethod
    def read(cls, path: Path) -> tuple["Finding", dict[str, Any]]:
        """Return a finding that was written, and the key of its study.

        Raises:
            ValueError: for a file that is damaged, or of another version.
        """
        kept, _ = FINDING.read(path.parent)
        numbers = {name: float(x) for name, x in kept.numbers.items()}
        return replace(kept.finding, numbers=numbers), kept.study


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """What a file of a finding holds; JSON has no word for a number that is not finite."""

    study: dict[str, Any]
    finding: Finding
    numbers: dict[str, float | Literal["nan", "inf", "-inf"]]


def _plain(number: float) -> Any:
    return float(number) if math.isfinite(number) else str(float(number))


FINDING = archive.Kind("finding", 2, _Kept, "remove its folder, it will be measured again")
