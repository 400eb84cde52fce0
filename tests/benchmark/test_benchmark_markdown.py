from dataclasses import replace

import pytest

from fimetric.benchmark.page import averages, write_markdown
from fimetric.benchmark.results import Comparison

ONE = Comparison(
    "a-vae", "vae", 0, "a", "b", "far", "m0", 1, "random", 0.9, 0.85, 0.95, 100, 50
)  # fmt: skip


def written(tmp_path, comparisons, notes=()):
    path = tmp_path / "benchmark.md"
    write_markdown(averages(comparisons), notes, path)
    return path.read_text(encoding="utf-8").splitlines()


def tables(lines):
    """All tables, each a list of rows of cells, without the rule."""
    found, before = [], False
    for line in lines:
        if line.startswith("|"):
            if not before:
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        before = line.startswith("|")
    return [[table[0], *table[2:]] for table in found]


def test_the_best_of_a_column_is_bold_with_all_that_tie_to_three_digits(tmp_path):
    methods = {"m0": 0.9004, "m1": 0.8996, "m2": 0.8994}
    rows = [replace(ONE, method=m, auroc=v) for m, v in methods.items()]
    (table,) = tables(written(tmp_path, rows))
    assert [row[1].split(" ")[0] for row in table[1:]] == ["**0.900**", "**0.900**", "0.899"]


def test_the_summary_has_families_and_all_with_quartiles_and_the_worst_pair(tmp_path):
    rows = [
        ONE,
        replace(ONE, other="c", auroc=0.7),
        replace(ONE, method="m1", auroc=0.8),
        replace(ONE, model="a-glow", family="glow", auroc=0.6),
        replace(ONE, group_size=5, auroc=0.99),
    ]
    first, second = tables(written(tmp_path, rows))
    assert first[0] == ["method", "vae, 2 pairs", "glow, 1 pair", "all, 3 pairs"]
    assert first[1] == [
        "m0",
        "**0.800** [0.750, 0.850]<br>worst 0.700: a → c",
        "**0.600** [0.600, 0.600]<br>worst 0.600: a → b",
        # 0.6, 0.7 and 0.9 of weights 2, 1 and 1 are the quantiles 0, 3/5 and 1
        "**0.700** [0.642, 0.775]<br>worst 0.600: glow, a → b",
    ]
    # a mean over one pair of two ties with the best, and is not set against it
    alone = "0.800 [0.800, 0.800] of 1 pair<br>worst 0.800: a → b"
    assert first[2] == ["m1", alone, "–", "–"]
    assert second[1] == ["m0", "**0.990** [0.990, 0.990]<br>worst 0.990: a → b", "–", "–"]


def test_one_family_needs_no_column_for_all(tmp_path):
    (summary,) = tables(written(tmp_path, [ONE]))
    assert summary[0] == ["method", "vae, 1 pair"]


@pytest.mark.parametrize("name", ["<b>&", "a|b", "*x*", "`x`", "[x](y)", "_x_", "two\nlines"])
def test_weird_names_are_shown_as_they_are(tmp_path, name):
    lines = written(tmp_path, [replace(ONE, method=name, other=name)], [f"note {name}"])
    for table in tables(lines):
        assert {len(row) for row in table} == {len(table[0])}
    said = "\n".join(lines)
    assert "<b>" not in said
    for raw in ("a|b", " *x*", "`x`", "[x](y)", "→ _x_"):
        assert f"{raw} " not in said.replace("\\`", "")
