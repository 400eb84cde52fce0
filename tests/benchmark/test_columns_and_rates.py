"""A set of a grid says which column its files hold the samples in, and at which rate sounds are."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from given_grids import WORDS

from fimetric.benchmark.cases import Sets, cases
from fimetric.benchmark.config import read
from fimetric.benchmark.places import model_folder
from fimetric.benchmark.run import run

GRID = """
held_out = 32
samples = 8
costly_samples = 8
group_sizes = [1, 2]
figure = ["likelihood", "typicality"]
methods = ["likelihood", "typicality"]
[families.{kind}]
config = "tiny"
steps = 1
[[sets]]
data = "{own}"
far = ["{far}"]
{more}
"""


def grid(folder: Path, kind: str, more: str = "", far: str = "far", own: str = "own") -> Path:
    path = folder / "grid.toml"
    path.write_text(GRID.format(kind=kind, own=folder / own, far=folder / far, more=more))
    return path


@pytest.fixture
def texts(tmp_path) -> Path:
    """Files of two columns, and one of texts of another."""
    for name, n in (("own/train.csv", 40), ("own/test.csv", 32), ("far.csv", 9), ("ref.csv", 16)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        rows = [f"{WORDS[i % 10]} {name} {i},{WORDS[i % 7]} body {name} {i}" for i in range(n)]
        (tmp_path / name).write_text("\n".join(["title,body", *rows]))
    (tmp_path / "other.csv").write_text("\n".join(["words,n", *(f"a b {i},1" for i in range(9))]))
    (tmp_path / "lines.txt").write_text("\n".join(f"a line {i}" for i in range(9)))
    return tmp_path


@pytest.fixture
def sounds(tmp_path) -> Path:
    """Clips of an eighth of a second, every other of another rate."""
    for name, n in (("own/train", 40), ("own/test", 32), ("far", 9)):
        (tmp_path / name).mkdir(parents=True)
        for i in range(n):
            rate = (8000, 4000)[i % 2]
            clip = np.random.default_rng([i, n]).uniform(-0.5, 0.5, rate // 8)
            soundfile.write(tmp_path / name / f"{i}.wav", clip, rate)
    return tmp_path


@pytest.mark.parametrize("column", ["title", "body"])
def test_a_column_is_that_of_own_foreign_and_reference_sets(texts, column):
    more = f'column = "{column}"\nreference = "{texts / "ref.csv"}"'
    [case] = cases(read(grid(texts, "transformer", more, far="far.csv")))
    sets = Sets(case)
    found = {**sets.all(), "train": sets.train}
    assert set(found) == {"fit", "calibration", "test", "far", "train"}
    for samples in found.values():
        assert all(("body" in text) == (column == "body") for text in samples.texts)
    assert {text.split()[-2] for text in found["fit"].texts} == {"ref.csv"}


def test_a_rate_is_that_of_own_and_foreign_sets(sounds):
    [case] = cases(read(grid(sounds, "wavenet", "rate = 2000")))
    sets = Sets(case)
    for samples in (*sets.all().values(), sets.train):
        assert samples.rate == 2000 and samples.shape == (250,)


def test_what_has_no_such_column_or_rate_is_told_with_the_setting(texts):
    for far, words in (
        ("other.csv", r"other.csv has no column 'body'; it has words, n \(column = 'body' of the"),
        ("lines.txt", r"column='body' does not concern lines, .* \(column = 'body' of the set"),
    ):
        [case] = cases(read(grid(texts, "transformer", 'column = "body"', far=far)))
        with pytest.raises(ValueError, match=rf"{words}.*own holds for all .*{far} among them"):
            Sets(case).all()
    [case] = cases(read(grid(texts, "transformer", 'column = "no"', far="far.csv")))
    with pytest.raises(ValueError, match=r"test.csv has no column 'no'; it has title, body$"):
        Sets(case).all()
    [case] = cases(read(grid(texts, "transformer", far="far.csv")))
    with pytest.raises(ValueError, match=r"name it by column='title'$"):
        Sets(case).all()
    with pytest.raises(ValueError, match="own: rate must be at least 1, not 0"):
        read(grid(texts, "transformer", "rate = 0"))
    with pytest.raises(ValueError, match="Expected `str"):
        read(grid(texts, "transformer", "column = 3"))


def test_sets_of_two_rates_are_told_how_to_be_brought_to_one(tmp_path):
    for name, rate in (("one", 8000), ("two", 4000)):
        (tmp_path / name).mkdir()
        for i in range(32):
            soundfile.write(tmp_path / name / f"{i}.wav", np.full(500, 0.1), rate)
    [case] = cases(read(grid(tmp_path, "wavenet", own="one", far="two")))
    with pytest.raises(ValueError, match=r"4000 values a second, .*give the set .*one a rate = 40"):
        Sets(case).all()


def test_another_column_is_another_model_and_other_tables(texts):
    found = {}
    for column in ("title", "body"):
        made = read(grid(texts, "transformer", f'column = "{column}"', far="far.csv"))
        [case] = cases(made)
        found[column] = [model_folder(case, texts / "run")]
        run(made, texts / "run", jobs=1, progress=False)
        found[column] += sorted((texts / "run" / "tables").rglob("features.json"))
    [case] = cases(read(grid(texts, "transformer", far="far.csv")))
    folders = {found["title"][0], found["body"][0], model_folder(case, texts / "run")}
    assert len(folders) == 3
    assert len(found["title"]) == 5 and len(found["body"]) == 9  # a model, and four sets each


def test_a_model_of_no_column_stays_where_it_was(tmp_path):
    """What was trained before there were such settings is not trained anew."""
    path = grid(tmp_path, "vae")
    path.write_text(path.read_text().replace(str(tmp_path), "/somewhere"))
    [case] = cases(read(path))
    assert model_folder(case, Path("run")) == Path("run/models/own-vae-2edda7d6")
