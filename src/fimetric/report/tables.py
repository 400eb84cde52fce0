"""Tables of results, on screen, as Markdown and as CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from fimetric.metrics import Estimate
from fimetric.store.files import whole_file

HEADINGS = ("OOD set", "group", "detector", "AUROC", "AUPR", "FPR at 95% TPR")
NOTE = (
    "95% bootstrap intervals. AUPR: OOD is the positive class. FPR at 95% TPR: share of "
    "in-distribution groups at or above the threshold that catches 95% of the OOD groups."
)


class Row(NamedTuple):
    """One detector on one pair of sets."""

    ood: str
    group_size: int
    detector: str
    auroc: Estimate
    aupr: Estimate
    fpr: Estimate

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        return (self.ood, str(self.group_size), self.detector, *(str(e) for e in self[3:]))


def show(rows: Sequence[Row], title: str, console: Console) -> None:
    """Print the table; a narrow or unknown screen wraps its lines instead of losing digits."""
    table = Table(title=title, caption=NOTE)
    for k, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if k in (0, 2) else "right", no_wrap=True)
    before = None
    for row in rows:
        if before is not None and before != row[:2]:
            table.add_section()
        table.add_row(*row.cells())
        before = row[:2]
    needed = Console(width=1000).measure(table).maximum
    Console(file=console.file, width=max(console.width, needed)).print(table)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as Markdown, the best AUROC of each pair and group size in bold."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for row in rows:
        rivals = [r.auroc.value for r in rows if r[:2] == row[:2]]
        cells = list(row.cells())
        if row.auroc.value == max(rivals):
            cells[3] = f"**{cells[3]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", NOTE, ""])


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the table with one column per number."""
    estimates = ("auroc", "aupr", "fpr_at_95_tpr")
    with whole_file(path) as place, place.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        ends = ("", "_low", "_high")
        names = [f"{name}{end}" for name in estimates for end in ends]
        writer.writerow(["ood", "group_size", "detector", *names])
        for row in rows:
            writer.writerow([*row[:3], *(x for estimate in row[3:] for x in estimate)])
