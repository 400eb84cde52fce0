"""The Python examples of README and guide run, block after block, in one session per page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs" / "guide.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


LINKED = [*ROOT.glob("*.md"), *(ROOT / "checkpoints").glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def links(page):
    return [page.parent / to for to in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in links(page):
        assert target.exists(), target


def test_every_picture_is_on_a_page():
    shown = {target.resolve() for page in LINKED for target in links(page)}
    assert not {p.resolve() for p in (ROOT / "docs").rglob("*.png")} - shown


def test_results_are_what_a_reader_looks_at():
    files = [p for p in (ROOT / "docs" / "results").rglob("*.*") if p.suffix != ".pyc"]
    sizes = {p.relative_to(ROOT): p.stat().st_size for p in files if p.is_file()}
    assert sum(sizes.values()) < 6_000_000
    assert max(sizes.values()) < 250_000, max(sizes, key=sizes.get)
