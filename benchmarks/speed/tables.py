"""Tables of results: on the terminal, as Markdown and as CSV."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks.speed.timing import Spread

Value = str | int | float | Spread | None


@dataclass
class Table:
    """A title, column names and rows; the first cell of a row names it."""

    title: str
    columns: Sequence[str]
    note: str = ""
    rows: list[Sequence[Value]] = field(default_factory=list)

    def print(self, console: Console) -> None:
        table = RichTable(title=self.title)
        for k, column in enumerate(self.columns):
            table.add_column(column, justify="left" if k == 0 else "right")
        for row in self.rows:
            table.add_row(*(escape(shown(value)) for value in row))
        console.print(table)

    def markdown(self) -> str:
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines.append(f"| {' | '.join(self.columns)} |")
        lines.append(f"|{'---|' * len(self.columns)}")
        for row in self.rows:
            cells = (shown(value).replace("|", "\\|") for value in row)
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def shown(value: Value) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_csv(tables: Sequence[Table], path: Path) -> None:
    """Write one line for each cell, numbers with all their digits, spreads with their quartiles."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("table", "row", "column", "value", "lower quartile", "upper quartile"))
        for table in tables:
            for n, row in enumerate(table.rows, 1):
                for column, value in zip(table.columns, row, strict=True):
                    if isinstance(value, Spread):
                        cell = (value.median, value.low, value.high)
                    else:
                        cell = ("" if value is None else value, "", "")
                    writer.writerow((table.title, n, column, *cell))
