"""Models that lie somewhere already, of any kind of sample, are benchmarked like the others."""

from pathlib import Path

import numpy as np
import pytest
from given_grids import WORDS, grid, rows, sentences, text_files

import fimetric as fm
from fimetric.benchmark.cases import cases
from fimetric.benchmark.config import read
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.places import model_folder
from fimetric.benchmark.run import run
from fimetric.benchmark.tables import Wanted, extract
from fimetric.benchmark.writing import write
from fimetric.models import build, build_for, save
from fimetric.statistics import OutlierScores


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return text_files(tmp_path_factory.mktemp("texts"))


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


def test_losses_alone_are_the_losses(make_features):
    table = make_features(N=6, J=3)
    seen = METHODS["losses-alone"].seen(table)
    np.testing.assert_array_equal(seen.values, table.group_losses)
    assert seen.names == table.views


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


def test_what_is_learned_from_other_rows_is_learned_anew(tmp_path):
    pytest.importorskip("zuko")
    pytest.importorskip("pyod")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test.csv").write_text(rows(48, 0, 1))
    (tmp_path / "far.csv").write_text(rows(12, 1, 2))
    save(build("nsf", "tiny", (3,)), tmp_path / "model")
    methods = '["likelihood", "typicality", "pyod-knn"]'
    path = grid(
        tmp_path, tmp_path, own=tmp_path / "own", far=tmp_path / "far.csv", kind="nsf", options="",
        methods=methods,
    )  # fmt: skip
    scores = []
    for seed in (3, 4):
        (tmp_path / "own" / "train.csv").write_text(rows(40, 0, seed))
        found = run(read(path), tmp_path / "run", jobs=1, progress=False)
        scores.append(found.scored["sentences-nsf", "pyod-knn", 1, "random"].scores["test"])
    assert not np.array_equal(*scores)


def test_a_committed_model_is_compared_without_what_it_learned(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "own.txt").write_text(sentences(48, WORDS, 0))
    (tmp_path / "far.txt").write_text(sentences(12, WORDS[:2], 1))
    samples = fm.data.load(str(tmp_path / "own.txt"))
    save(build_for("transformer", "tiny", samples), tmp_path / "kept" / "sentences-transformer")
    path = grid(tmp_path, tmp_path, kind="transformer", options="")
    text = path.read_text().replace(f'model = "{tmp_path / "model"}"', 'config = "tiny"')
    path.write_text(f'checkpoints = "{tmp_path / "kept"}"\n{text}')
    (case,) = cases(read(path))
    assert model_folder(case, tmp_path / "run") == tmp_path / "kept" / "sentences-transformer"
    path.write_text(path.read_text().replace('"tiny"', '"small"'))
    (case,) = cases(read(path))
    with pytest.raises(ValueError, match="the grid asks for a transformer of"):
        model_folder(case, tmp_path / "run")


def test_levels_that_differ_by_rounding_alone_are_one(make_features):
    table = make_features(N=4, J=1, values=[[-3.5071], [-3.5068], [-3.5], [-2.0]])
    seen = METHODS["loudness"].seen(table)
    np.testing.assert_array_equal(seen.values[:, 0], [-3.51, -3.51, -3.5, -2.0])
