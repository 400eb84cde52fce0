"""The Python examples of README and guide run, block after block, in one session per page."""

import re

import pytest

from pages import DOCS, ROOT, run

PAGES = [ROOT / "README.md", DOCS / "guide.md"]  # docs/gradients.md has tests of its own


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(page)


LINKED = [*ROOT.glob("*.md"), *(ROOT / "checkpoints").glob("*.md"), *DOCS.rglob("*.md")]


def links(page):
    return [page.parent / to for to in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in links(page):
        assert target.exists(), target


def test_every_picture_is_on_a_page():
    shown = {target.resolve() for page in LINKED for target in links(page)}
    assert not {p.resolve() for p in DOCS.rglob("*.png")} - shown


def test_results_are_what_a_reader_looks_at():
    files = [p for p in (DOCS / "results").rglob("*.*") if p.suffix != ".pyc"]
    sizes = {p.relative_to(ROOT): p.stat().st_size for p in files if p.is_file()}
    assert sum(sizes.values()) < 6_000_000
    assert max(sizes.values()) < 250_000, max(sizes, key=sizes.get)
