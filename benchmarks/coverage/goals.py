"""What the coverage run is held to, and whether it is met."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from measure import EXACT, WRONG, Row
from paths import CALLED, FAST, UNUSED


class Goal(NamedTuple):
    """A number that the run is held to."""

    what: str
    measured: str
    met: bool


def _total(rows: Sequence[Row], counts: Callable[[Row], Counter[str]]) -> Counter[str]:
    return sum((counts(row) for row in rows), Counter())


def _share(counts: Counter[str], ways: Sequence[str]) -> float:
    """Return the share of ``ways`` among all that a gradient reaches; refused ones are in none."""
    used = sum(count for way, count in counts.items() if way != UNUSED)
    return sum(counts[way] for way in ways) / max(used, 1)


def goals(rows: Sequence[Row]) -> list[Goal]:
    """Return every goal with what was measured; anything but an exact row is a miss."""
    exact = sum(row.status == EXACT for row in rows)
    wrong = sum(row.status == WRONG for row in rows)
    tensors = _share(_total(rows, lambda row: row.tensors), (FAST, CALLED))
    numbers = _share(_total(rows, lambda row: row.numbers), (FAST,))
    ratios = [row.ratio for row in rows if row.ratio == row.ratio]
    median = statistics.median(ratios) if ratios else float("inf")
    return [
        Goal("all exact", f"{exact} of {len(rows)} ({exact / len(rows):.1%})", exact == len(rows)),
        Goal("none silently wrong", f"{wrong}", wrong == 0),
        Goal(
            "at least 95% of tensors by a rule or a called node", f"{tensors:.1%}", tensors >= 0.95
        ),
        Goal("at least 80% of numbers by a fast rule", f"{numbers:.1%}", numbers >= 0.8),
        Goal("median time at most 1.5 of an ordinary step", f"{median:.2f}", median <= 1.5),
    ]


def most_called(rows: Sequence[Row]) -> list[tuple[str, int, int, int]]:
    """Return (operation, tensors, numbers, rows) for what has no fast rule, most tensors first."""
    tensors = _total(rows, lambda row: row.called)
    numbers = _total(rows, lambda row: row.called_numbers)
    models = Counter(operation for row in rows for operation in row.called)
    return [(name, count, numbers[name], models[name]) for name, count in tensors.most_common()]
