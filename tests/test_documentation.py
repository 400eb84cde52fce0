"""The Python examples of README and guide run, block after block, in one session per page."""

import re
import shlex

import pytest
from typer.testing import CliRunner

from fimetric.cli import app
from pages import DOCS, ROOT, run
from stand_ins import FLOW, SOUND, make_all

PAGES = [
    ROOT / "README.md",
    DOCS / "guide.md",
    DOCS / "models.md",
]  # docs/gradients.md has tests of its own


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    make_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, stand_ins, capsys):
    run(page)


def test_commands_on_models_run(stand_ins):
    page = (DOCS / "models.md").read_text()
    (block,) = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        name, *arguments = shlex.split(line)
        result = CliRunner().invoke(app, arguments)
        assert name == "fimetric"
        assert result.exit_code == 0, (line, result.output, result.exception)
    assert (stand_ins / "scores.csv").read_text().startswith("id,score,p_value,out_of_distribution")


def test_the_files_that_a_page_shows_are_those_of_its_examples():
    shown = re.findall(
        r"^```py\n(.*?)^```", (DOCS / "models.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert shown == [SOUND, FLOW]


LINKED = [*ROOT.glob("*.md"), *(ROOT / "checkpoints").glob("*.md"), *DOCS.rglob("*.md")]


def links(page):
    return [page.parent / to for to in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in links(page):
        assert target.exists(), target


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_no_link_has_a_bracket_that_nothing_closes(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`]*`", "", prose)
    assert not re.findall(r"\[[^\]]*\[[^\]]*\]\([^)]*\)(?!\])", prose)


def test_every_picture_is_on_a_page():
    shown = {target.resolve() for page in LINKED for target in links(page)}
    assert not {p.resolve() for p in DOCS.rglob("*.png")} - shown


def test_results_are_what_a_reader_looks_at():
    files = [p for p in (DOCS / "results").rglob("*.*") if p.suffix != ".pyc"]
    sizes = {p.relative_to(ROOT): p.stat().st_size for p in files if p.is_file()}
    assert sum(sizes.values()) < 6_000_000
    assert max(sizes.values()) < 250_000, max(sizes, key=sizes.get)
