"""The benchmark's averages as Markdown."""

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fimetric.benchmark.page.averages import ALL, Average
from fimetric.benchmark.page.words import groups
from fimetric.store.files import whole_file

NONE = "–"

HEAD = """# Benchmark

AUROC: the probability that a sample, or a group of samples, of the foreign set scores higher than
one of the set a model was trained on, ties counted half; 0.5 is chance, and below it the foreign
set looks more ordinary than the model's own. Far: another data set; near: one close to the model's
own, or made from it.
"""
SUMMARY = """## Averages

Mean over pairs of sets of their AUROCs on models of the first seed, in brackets the quartiles, then
the worst pair. Over all families, each family has the same weight. Bold: the best of a column, with
all that tie with it to three digits.
"""


def write_markdown(
    averages: Sequence[Average], notes: Sequence[str], path: Path, opening: Iterable[str] = ()
) -> None:
    """Write notes and averages as a Markdown file.

    Arguments:
        averages: as ``averages`` returns them.
        notes: plain text, an item of a list each.
        path: of the file.
        opening: lines of Markdown to begin with.
    """
    lines = [HEAD, *opening, *(f"- {text(note)}" for note in notes), *([""] if notes else [])]
    lines += [SUMMARY, *_summary(averages)]
    with whole_file(path) as place:
        place.write_text("\n".join(lines), encoding="utf-8")


def text(name: str) -> str:
    """Return a name so that Markdown shows it as it is.

    >>> print(text("a|b <i> *c* d_e"))
    a\\|b &lt;i&gt; \\*c\\* d_e
    """
    plain = html.escape(" ".join(name.split()), quote=False)
    return re.sub(r"([\\`*|\[\]~]|(?<!\w)_|_(?!\w))", r"\\\1", plain)


def _lines(table: list[list[str]]) -> list[str]:
    head, *rows = table
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [*("| " + " | ".join(row) + " |" for row in (head, rule, *rows)), ""]


def _bold(cells: Sequence[str], values: Sequence[float | None]) -> list[str]:
    """Return the cells, those of the highest value to three digits in bold."""
    shown = ["" if value is None else f"{value:.3f}" for value in values]
    best = max(shown)  # three digits of numbers in [0, 1] sort as the numbers do
    return [f"**{c}**" if s and s == best else c for c, s in zip(cells, shown, strict=True)]


def _summary(averages: Sequence[Average]) -> list[str]:
    families = list(dict.fromkeys(a.family for a in averages))
    if len(families) == 2 and ALL in families:  # one family is all there is
        families.remove(ALL)
    lines = []
    settings = dict.fromkeys(a.setting[:3] for a in averages)
    for distance, size, arrangement in sorted(settings, key=lambda s: s[:2]):
        some = [a for a in averages if a.setting[:3] == (distance, size, arrangement)]
        lines += [f"### {distance.capitalize()}, {groups(size, arrangement)}", ""]
        lines += _lines(_average_table(some, families))
    return lines


def _average_table(averages: Sequence[Average], families: Sequence[str]) -> list[list[str]]:
    """Return methods x families."""
    methods = list(dict.fromkeys(a.setting.method for a in averages))
    known = {(a.family, a.setting.method): a for a in averages}
    columns = [["method", *map(text, methods)]]
    for family in families:
        theirs = [known.get((family, method)) for method in methods]
        counts = sorted({a.pairs for a in theirs if a})
        # a mean over fewer pairs, easier ones perhaps, is not set against the others
        means = _bold(
            [f"{a.mean:.3f}" if a else NONE for a in theirs],
            [a.mean if a and a.pairs == counts[-1] else None for a in theirs],
        )
        head = f"{text(family)}, {_pairs(counts[-1])}" if counts else text(family)
        cells = zip(means, theirs, strict=True)
        columns.append(
            [head, *(_average_cell(mean, a, max(counts, default=0)) for mean, a in cells)]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def _average_cell(mean: str, average: Average | None, most: int) -> str:
    if average is None:
        return NONE
    quartiles = f"[{average.lower:.3f}, {average.upper:.3f}]"
    quartiles += f" of {_pairs(average.pairs)}" if average.pairs < most else ""
    return f"{mean} {quartiles}<br>worst {average.worst:.3f}: {text(average.where)}"


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"
