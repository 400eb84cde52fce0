"""Columns and rates of training data, and errors that name the options as they are typed."""

import re

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from fimetric.cli import app
from fimetric.cli.words import as_typed
from fimetric.models.folder import describe

WORDS = ["the cat sat", "a dog ran far", "home on a mat", "the dog sat"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Texts in two columns, and clips of half a second at two rates."""
    rows = [f"{WORDS[i % 4]} {i},{WORDS[(i + 1) % 4]} or {7 * i}" for i in range(40)]
    (tmp_path / "two.csv").write_text("\n".join(["title,body", *rows]))
    (tmp_path / "clips").mkdir()
    for i in range(40):
        rate = (8000, 4000)[i % 2]
        clip = np.random.default_rng(i).uniform(-0.5, 0.5, rate // 8)
        soundfile.write(tmp_path / "clips" / f"{i}.wav", clip, rate)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(line, status=0):
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == status, (found.output, found.exception)
    return found.stderr if status else found.stdout


TEXTS = "train transformer --data two.csv --config tiny --steps 2"
SOUNDS = "train wavenet --data clips --config tiny --steps 2"


def test_a_model_is_trained_on_a_column_and_no_run_goes_on_with_another(work):
    assert "two.csv holds the texts: there are title, body; name it by --column 'title'" in call(
        f"{TEXTS} --out m", 1
    )
    for column in ("title", "body"):
        assert "bits per byte" in call(f"{TEXTS} --out {column} --column {column}")
    call(f"{TEXTS} --out title --column title")
    said = call(f"{TEXTS} --out title --column body", 1)
    assert re.search(r"is of another run: data was \[38, \d+\], now \[38, \d+\]; call with", said)
    weights = [(work / name / "config.json").read_bytes() for name in ("title", "body")]
    assert weights[0] != weights[1]  # whose vocabulary is learned from the texts


def test_a_model_is_trained_at_a_rate_and_no_run_goes_on_at_another(work):
    said = call(f"{SOUNDS} --out m", 1)
    assert "has 4000; pass --rate 4000 to resample them" in said
    for rate in (4000, 2000):
        call(f"{SOUNDS} --out m{rate} --rate {rate}")
        assert describe(work / f"m{rate}").shape == (rate // 8,)
    assert "is of another run: shape was [500], now [250]" in call(
        f"{SOUNDS} --out m4000 --rate 2000", 1
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train vae --data digits --rate 8000 --out m", "--rate 8000 does not concern digits, wh"),
        ("train vae --data digits --column x --out m", "--column 'x' does not concern digits, wh"),
        ("train wavenet --data clips --size 8 --out m", "--size 8 does not concern clips, which"),
        (
            "train nsf --data two.csv --column no --out m",
            "two.csv has no column 'no'; it has title",
        ),
        ("analyse m --data clips --out n", "has 4000; pass rate=4000"),
        ("retrain vae --data clips --ood digits --out n", "has 4000; pass rate=4000"),
    ],
)
def test_an_option_is_called_as_it_is_typed_where_the_command_has_it(work, line, words):
    if line.startswith("analyse"):
        call(f"{SOUNDS} --out m --rate 4000")
    assert words in call(line, 1)


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("pass rate=8000 to resample them", "pass --rate 8000 to resample them"),
        ("resample them, as load(..., rate=8000) does", "resample them, as --rate 8000 does"),
        ("name it by column='a title'", "name it by --column 'a title'"),
        ("""name it by column="it's" here""", """name it by --column "it's" here"""),
        ("load the data with size= and channels=", "load the data with size= and channels="),
        ("taken whole, without column=", "taken whole, without --column"),
        ("batch_rate=8 generate=3", "batch_rate=8 generate=3"),
        ("/tmp/a-rate=8/x", "/tmp/a-rate=8/x"),
        ("draws=2 does not concern it", "draws=2 does not concern it"),
    ],
)
def test_only_options_of_the_command_are_renamed(said, typed):
    assert as_typed(said, ["rate", "column", "draws", "out"]) == typed
    assert as_typed(said, ["draws"]) == said and as_typed(said, []) == said
