"""Models that lie somewhere already, of any kind of sample, are benchmarked like the others."""

import random
from pathlib import Path

import numpy as np
import pytest

import fimetric as fm
from fimetric.benchmark.config import read
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.run import run
from fimetric.benchmark.tables import Wanted, extract
from fimetric.benchmark.writing import write
from fimetric.models import build, build_for, save
from fimetric.statistics import OutlierScores
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


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for name, n, words in (("own", 48, WORDS), ("other", 18, WORDS), ("far", 11, WORDS[:2])):
        (folder / f"{name}.txt").write_text(sentences(n, words, n))
    save_text_model(folder / "model", "gpt2")
    return folder


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


def test_a_language_model_of_others_is_benchmarked_on_texts_of_any_length(texts, tmp_path):
    found = run(read(grid(texts, tmp_path)), tmp_path / "run", jobs=1, progress=False)
    assert {c.method for c in found.comparisons} == {
        *("likelihood", "typicality", "fimetric", "losses-alone")
    }  # those that need what only some families have are left out
    assert {(c.own, c.other, c.family) for c in found.comparisons} == {("sentences", "far", "ours")}
    assert {c.other_groups for c in found.comparisons if c.group_size == 1} == {11}
    page = write(found, read(grid(texts, tmp_path)), tmp_path / "run").read_text()
    assert "Own calibration against own test" in page
    again = run(read(grid(texts, tmp_path)), tmp_path / "run", jobs=1, progress=False)
    assert again.comparisons == found.comparisons


def test_the_own_test_part_under_another_name_is_never_told(texts, tmp_path):
    found = run(read(grid(texts, tmp_path)), tmp_path / "run", jobs=1, progress=False)
    same = [c for c in found.leaks if c.other == "own test again"]
    assert len(same) == 4 * 2
    assert {(c.auroc, c.low, c.high) for c in same if c.group_size == 1} == {(0.5, 0.5, 0.5)}
    assert {c.other for c in found.leaks} == {"own test again", "own calibration"}


def test_a_reference_beside_the_own_set_is_taken_whole(texts, tmp_path):
    path = grid(texts, tmp_path, more=f'reference = "{texts / "other.txt"}"')
    found = run(read(path), tmp_path / "run", jobs=1, progress=False)
    scored = found.scored["sentences-ours", "likelihood", 1, "random"]
    assert len(scored.scores["own calibration"]) == 9 and len(scored.scores["test"]) == 12


def test_a_model_of_a_family_is_taken_where_it_lies(tmp_path):
    model = build("vae", {"channels": (2,), "latent": 1}, (1, 8, 8))
    save(model, tmp_path / "vae")
    path = grid(
        tmp_path, tmp_path, own="digits", far="letters", kind="vae", model="vae", options=""
    )
    text = path.read_text().replace('"vae"', f'"{tmp_path / "vae"}"')
    path.write_text(text)
    found = run(read(path), tmp_path / "run", jobs=1, progress=False)
    assert not (tmp_path / "run" / "models").exists()
    assert {c.model for c in found.comparisons} == {"sentences-vae"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"options": ""}, "say which the model takes: images, sounds, tables, texts"),
        ({"kind": "vae", "options": 'samples = "images"'}, "vae is a family, which says"),
        ({"kind": "vae", "options": "seeds = [0, 1]"}, "leave out seeds"),
        ({"more": 'near = ["other/far.txt"]'}, "a set is named twice among own, far, far"),
        ({"more": 'near = ["own calibration"]'}, "a set cannot be called 'own calibration'"),
        ({"more": 'reference = "x"\nalike = "y"'}, "alike is for own samples that come from one"),
        ({"options": 'samples = "texts"\nseeds = [0, 1]'}, "leave out seeds"),
        ({"kind": "vae", "options": 'background = "b"'}, "a background is for models of texts"),
        ({"kind": "diffusion", "options": "options = { draws = 2 }"}, "options would change"),
    ],
)
def test_what_does_not_fit_together_is_refused(texts, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        read(grid(texts, tmp_path, **values))


def test_a_model_that_is_not_there_is_told_before_the_work(texts, tmp_path):
    path = grid(texts, tmp_path, model="nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere is no path"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)


def test_a_set_with_too_few_samples_is_told(texts, tmp_path):
    (tmp_path / "few.txt").write_text(sentences(9, WORDS, 0))
    path = grid(texts, tmp_path, far=str(tmp_path / "few.txt"))
    with pytest.raises(ValueError, match="has 9 samples, fewer than fewest=10"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)


def test_losses_alone_are_the_losses(make_features):
    table = make_features(N=6, J=3)
    seen = METHODS["losses-alone"].seen(table)
    np.testing.assert_array_equal(seen.values, table.group_losses)
    assert seen.names == table.views


def rows(n: int, shift: float, seed: int) -> str:
    values = np.random.default_rng(seed).normal(size=(n, 3)) + shift
    return "\n".join(["a,b,c", *(",".join(f"{x:.3f}" for x in row) for row in values)])


def test_rivals_without_a_model_see_all_rows_that_ours_have_seen(tmp_path, monkeypatch):
    pytest.importorskip("zuko")
    pytest.importorskip("pyod")
    for part, n in (("train", 40), ("test", 48)):
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / f"{part}.csv").write_text(rows(n, 0, n))
    (tmp_path / "far.csv").write_text(rows(12, 4, 1))
    save(build("nsf", "tiny", (3,)), tmp_path / "model")
    seen = []
    make = OutlierScores.__init__

    def watched(self, objective, train, *rest):
        seen.append(train.tensor())
        make(self, objective, train, *rest)

    monkeypatch.setattr(OutlierScores, "__init__", watched)
    path = grid(
        tmp_path,
        tmp_path,
        own=tmp_path / "own",
        far=tmp_path / "far.csv",
        kind="nsf",
        options="",
        methods='["likelihood", "typicality", "pyod-knn", "pyod-ecod"]',
    )
    found = run(read(path), tmp_path / "run", jobs=1, progress=False)
    areas = {c.method: c.auroc for c in found.comparisons if c.group_size == 1}
    assert areas["pyod-knn"] > 0.9 and areas["pyod-ecod"] > 0.9
    assert {len(each) for each in seen} == {40 + 12}  # trained on, and density fitted on
    again = len(seen)
    run(read(path), tmp_path / "run", jobs=1, progress=False)
    assert len(seen) == again  # nothing learns twice


def test_options_reach_a_model_of_a_family(tmp_path):
    pytest.importorskip("transformers")
    for name, n, words in (("own", 48, WORDS), ("far", 12, WORDS[:2])):
        (tmp_path / f"{name}.txt").write_text(sentences(n, words, n))
    samples = fm.data.load(str(tmp_path / "own.txt"))
    save(build_for("transformer", "tiny", samples), tmp_path / "model")
    path = grid(
        tmp_path,
        tmp_path,
        kind="transformer",
        options="options = { window = 4 }",
        methods='["likelihood", "typicality", "min-k"]',
    )
    found = run(read(path), tmp_path / "run", jobs=1, progress=False)
    assert {c.method for c in found.comparisons} == {"likelihood", "typicality", "min-k"}
    case = found.models[0]
    table = extract(Wanted(case, "norms"), tmp_path / "run")["test"]
    assert set(table.dimensions) == {3} and "window=4" in table.objective


def test_a_model_that_only_its_library_finds_is_opened_by_it(texts, tmp_path):
    path = grid(texts, tmp_path, model="a/name/of-no-model")
    with pytest.raises((OSError, ValueError), match="of-no-model"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)
    place = tmp_path / "theirs.py"
    place.write_text(
        "import fimetric as fm\n\ndef objective():\n"
        f"    return fm.objectives.from_pretrained({str(texts / 'model')!r})\n"
    )
    path = grid(texts, tmp_path, model=f"{place}:objective", methods='["likelihood", "typicality"]')
    found = run(read(path), tmp_path / "run", jobs=1, progress=False)
    assert {c.family for c in found.comparisons} == {"ours"}


def test_rivals_learn_from_no_sample_that_is_tested(tmp_path):
    pytest.importorskip("pyod")
    for name, n, seed in (("own", 48, 0), ("far", 12, 1)):
        (tmp_path / f"{name}.csv").write_text(rows(n, 0, seed))
    save(build("nsf", "tiny", (3,)), tmp_path / "model")
    files = {"own": tmp_path / "own.csv", "far": tmp_path / "far.csv"}
    methods = '["likelihood", "typicality", "pyod-knn"]'
    path = grid(tmp_path, tmp_path, kind="nsf", options="", methods=methods, **files)
    with pytest.raises(ValueError, match="no training part apart from what is tested on"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)


def test_the_same_samples_are_no_reference(texts, tmp_path):
    path = grid(texts, tmp_path, more=f'reference = "{texts / "own.txt"}"')
    with pytest.raises(ValueError, match="own samples of no other set"):
        read(path)
