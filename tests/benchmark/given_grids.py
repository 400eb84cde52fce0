"""Grids of models that lie somewhere already, and data for them."""

import random
from pathlib import Path

import numpy as np

from objectives.saved_text_models import save as save_text_model

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far", "home"]
GRID = """
held_out = 48
samples = 12
fewest = 10
costly_samples = 10
group_sizes = [1, 2]
figure = ["likelihood", "typicality"]
methods = {methods}
looks = []
leak_checks = true
[[sets]]
name = "sentences"
data = "{own}"
{more}
far = ["{far}"]
[sets.models.{kind}]
model = "{model}"
{options}
"""


def sentences(n: int, words: list[str], seed: int) -> str:
    mixed = random.Random(seed)
    return "\n".join(" ".join(mixed.choices(words, k=mixed.randint(4, 9))) for _ in range(n))


def grid(folder: Path, place: Path, **values: str) -> Path:
    given = {
        "own": folder / "own.txt",
        "far": folder / "far.txt",
        "model": folder / "model",
        "kind": "ours",
        "more": "",
        "options": 'samples = "texts"',
        "methods": '["likelihood", "typicality", "fimetric", "losses-alone", "dose-kde"]',
        **values,
    }
    path = place / "grid.toml"
    path.write_text(GRID.format(**given))
    return path


def rows(n: int, shift: float, seed: int) -> str:
    values = np.random.default_rng(seed).normal(size=(n, 3)) + shift
    return "\n".join(["a,b,c", *(",".join(f"{x:.3f}" for x in row) for row in values)])


def text_files(folder: Path) -> Path:
    """Own texts, others like them, foreign ones, and a small GPT-2."""
    for name, n, words in (("own", 48, WORDS), ("other", 18, WORDS), ("far", 11, WORDS[:2])):
        (folder / f"{name}.txt").write_text(sentences(n, words, n))
    save_text_model(folder / "model", "gpt2")
    return folder
