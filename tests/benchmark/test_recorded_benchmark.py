"""The recorded pages of the benchmark say what their recorded comparisons say."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fimetric.benchmark.cases import cases
from fimetric.benchmark.config import read
from fimetric.benchmark.page import averages, write_markdown
from fimetric.benchmark.results import Comparison

RESULTS = Path(__file__).parents[2] / "docs" / "results"
GRIDS = {f"benchmark-{name}": RESULTS / f"{name}.toml" for name in ("rivals", "looks", "lean")}
NUMBER = re.compile(r"\d\.\d{3}")
LOOSE = re.compile(r"\*\*|: [^|]*(?=\|)")  # what is best, and which pair is worst


def section(path):
    """The lines from the averages on."""
    return path.read_text(encoding="utf-8").partition("## Averages")[2].strip()


@pytest.mark.parametrize(("name", "grid"), GRIDS.items())
def test_averages_are_those_of_the_comparisons(name, grid, tmp_path):
    rows = pq.read_table(RESULTS / name / "comparisons.parquet").to_pylist()
    firsts = {case.name for case in cases(read(grid)) if case.first}
    found = averages([c for c in (Comparison(**row) for row in rows) if c.model in firsts])
    write_markdown(found, [], tmp_path / "benchmark.md")
    again, recorded = section(tmp_path / "benchmark.md"), section(RESULTS / f"{name}.md")
    # the comparisons are recorded to three digits, and ties may be decided by the fourth
    words = [NUMBER.sub("", LOOSE.sub("", text)) for text in (again, recorded)]
    assert words[0] == words[1]
    numbers = [list(map(float, NUMBER.findall(text))) for text in (again, recorded)]
    assert len(numbers[0]) > 1000
    assert numbers[0] == pytest.approx(numbers[1], abs=0.0015)


@pytest.mark.parametrize("name", GRIDS)
def test_the_page_says_how_many_comparisons_there_are(name):
    count = pq.read_metadata(RESULTS / name / "comparisons.parquet").num_rows
    page = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    assert f"All {count:,} comparisons" in page
