"""A folder of every library by the command line alone: inspect, fit, score, with data in files."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("gguf")
from fimetric.cli import app
from objectives import saved_diffusers as pictures
from objectives.saved_text_models import adapted, gguf_llama, save, tokenizer, write_gguf

MANY = 24
FEWEST = 12  # of MANY, calibrated on: the smallest p-value is 1/13

# of peft, which asks transformers by a former name
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def fimetric(*typed: object) -> str:
    result = CliRunner().invoke(app, list(map(str, typed)))
    assert result.exit_code == 0, (typed, result.output, result.exception)
    return " ".join(result.stdout.split())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Texts and pictures in files, each with a column that a model may be told."""
    home = tmp_path_factory.mktemp("every-library")
    said = ["a cat " * (1 + i % 3) + str(i) for i in range(MANY)]
    rows = [{"text": text, "source": "a cat", "label": i % 4} for i, text in enumerate(said)]
    lines = "\n".join(map(json.dumps, rows))
    (home / "texts.jsonl").write_text(lines, encoding="utf-8")
    lines = "\n".join(json.dumps({"article": "a cat", "summary": text}) for text in said)
    (home / "summaries.jsonl").write_text(lines, encoding="utf-8")
    _pictures(home / "small.parquet", (8, 8))
    _pictures(home / "large.parquet", (16, 16))
    return home


def _pictures(path, size):
    import datasets

    draw = np.random.default_rng(0)
    found = [
        Image.fromarray(draw.integers(256, size=(*size, 3), dtype=np.uint8)) for _ in range(MANY)
    ]
    said = {
        "image": found,
        "label": [i % 4 for i in range(MANY)],
        "prompt": [("a cat", "dogs")[i % 2] for i in range(MANY)],
        "caption": [("a dog", "cats")[i % 2] for i in range(MANY)],
    }
    datasets.Dataset.from_dict(said).to_parquet(path)


def _adapter(folder):
    base = save(folder.with_name("base"), "gpt2")
    adapted(base).save_pretrained(folder)


def _gguf(folder):
    folder.mkdir()
    write_gguf(gguf_llama(), tokenizer(), folder / "tiny.gguf")


TIMES = ("--timesteps", "0,5")
CASES = {
    "gpt2": (lambda f: save(f, "gpt2"), "texts.jsonl", ()),
    "bert": (
        lambda f: save(f, "bert", "AutoModelForMaskedLM", "masked"),
        "texts.jsonl",
        ("--positions", "3"),
    ),
    "t5": (
        lambda f: save(f, "t5", "AutoModelForSeq2SeqLM", "seq2seq"),
        "texts.jsonl",
        ("--condition", "source"),
    ),
    "t5, by name": (
        lambda f: save(f, "t5", "AutoModelForSeq2SeqLM", "seq2seq"),
        "summaries.jsonl",
        ("--column", "summary", "--condition", "article"),
    ),
    "peft": (_adapter, "texts.jsonl", ()),
    "gguf": (_gguf, "texts.jsonl", ("--window", "9")),
    "pixels": (lambda f: pictures.pixels().save_pretrained(f), "small.parquet", TIMES),
    "class": (
        lambda f: pictures.pixels(num_class_embeds=4).save_pretrained(f),
        "small.parquet",
        (*TIMES, "--condition", "label"),
    ),
    "latent, prompt": (
        lambda f: pictures.stable_diffusion().save_pretrained(f),
        "large.parquet",
        (*TIMES, "--condition", "caption"),
    ),
    "transformer": (
        lambda f: pictures.dit().save_pretrained(f),
        "large.parquet",
        (*TIMES, "--condition", "label"),
    ),
    "flow matching": (lambda f: pictures.flow().save_pretrained(f), "small.parquet", TIMES),
    "autoencoder": (lambda f: pictures.autoencoder().save_pretrained(f), "large.parquet", ()),
}


@pytest.mark.parametrize("name", CASES)
def test_inspect_fit_and_score(name, home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    make, data, asked = CASES[name]
    model, detector, out = tmp_path / "model", tmp_path / "detector", tmp_path / "scores.csv"
    make(model)
    said = fimetric("inspect", model, *asked, "--data", data)
    assert "Columns" in said and "a sample, measured" in said
    assert f"on {FEWEST} groups" in fimetric(
        "fit", model, *asked, "--data", data, "--out", detector
    )
    fimetric("score", detector, "--data", data, "--alpha", "0.2", "--out", out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == MANY
    assert {row["outside"] for row in rows} <= {"False", "True"}
    kept = torch.tensor([float(row["score"]) for row in rows])
    assert kept.isfinite().all()


def test_evaluate_tells_a_loss_its_condition(home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    save(tmp_path / "model", "t5", "AutoModelForSeq2SeqLM", "seq2seq")
    lines = (home / "texts.jsonl").read_text(encoding="utf-8").replace('"source"', '"article"')
    for name, text in (("own", lines), ("other", lines.replace("a cat ", "dogs "))):
        (home / f"{name}.jsonl").write_text(text, encoding="utf-8")
    asked = ("--condition", "article", "--column", "text", "--density", "likelihood")
    sets = ("--id", "own.jsonl", "--ood", "other.jsonl", "--group-size", "1")
    fimetric("evaluate", tmp_path / "model", *asked, *sets, "--out", tmp_path / "evaluation")
    table = (tmp_path / "evaluation" / "table.md").read_text(encoding="utf-8")
    assert "condition=article" in table and "| other | 1 | likelihood |" in table
