"""A model of texts on the command line, from its training to scores."""

import pytest
from tests.models.examples import example
from typer.testing import CliRunner

from fimetric.cli import app

pytest.importorskip("transformers")

TEXTS = example("transformer", 40)


def call(line: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == status, (found.output, found.exception)
    return " ".join((found.output or str(found.exception)).split())


def test_the_command_line_takes_it_from_training_to_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.txt").write_text("\n".join(TEXTS.texts * 3))
    (tmp_path / "other.txt").write_text("\n".join(["ab ab ab ab ab ab"] * 5))
    said = call("train transformer --data own.txt --config tiny --steps 5 --out model")
    assert "bits per byte on validation data" in said
    assert "GPT2LMHeadModel in CausalLM" in call("inspect model --data own.txt --window 32")
    assert "made-up samples" in call("inspect model")
    call("extract model --data own.txt --window 32 --out table")
    call("fit model --data own.txt --window 32 --out detector")
    assert "5 of 5 out of distribution" in call("score detector --data other.txt --out scores.csv")
    said = call("evaluate model --id own.txt --ood other.txt --density likelihood --out judged")
    assert "Bits per byte on 60 held-out samples of own" in said
    assert "single bytes 4." in said and "zlib" in said
    (tmp_path / "long.txt").write_text("xyz " * 30)
    said = call("extract model --data long.txt --out long", 1)
    assert "tokens, the model has positions for 64" in said and "window=64" in said
