"""What the measurement of a claim comes to: a verdict, numbers, tables and pictures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fimetric.files import whole_file

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
        """Write the finding and the key of the study that it belongs to, as JSON."""
        text = json.dumps({"study": key, "finding": asdict(self)}, indent=1)
        with whole_file(path) as place:
            place.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> tuple["Finding", dict[str, Any]]:
        """Return a finding that was written, and the key of its study.

        Raises:
            ValueError: for a file that is damaged.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            values = dict(found["finding"])
            values["tables"] = [Table(**table) for table in values["tables"]]
            values["pictures"] = [Picture(**picture) for picture in values["pictures"]]
            return cls(**values), found["study"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no finding ({error!r}); remove its folder, it will be measured again"
            ) from error
