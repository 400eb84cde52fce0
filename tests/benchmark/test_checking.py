"""Models, data and methods that do not go together are told before anything is written."""

import logging
from pathlib import Path

import numpy as np
import pytest
from given_grids import WORDS, grid, rows, sentences, text_files

import fimetric as fm
from fimetric.benchmark.config import read
from fimetric.benchmark.run import run
from fimetric.benchmark.writing import write
from fimetric.models import build, build_for, save

THREE = '["likelihood", "typicality", "fimetric"]'


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    folder = text_files(tmp_path_factory.mktemp("texts"))
    samples = fm.data.load(str(folder / "own.txt"))
    save(build_for("transformer", "tiny", samples), folder / "transformer")
    return folder


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """Rows of three columns, a flow of them, and models of other samples."""
    folder = tmp_path_factory.mktemp("tables")
    for name, n, shift in (("own", 48, 0), ("far", 12, 3)):
        (folder / f"{name}.csv").write_text(rows(n, shift, n))
    (folder / "wide.csv").write_text("a,b,c,d\n" + 20 * "1,2,3,4\n")
    save(build("nsf", "tiny", (3,)), folder / "nsf")
    save(build("wavenet", "tiny", (64,)), folder / "wavenet")
    (folder / "theirs.py").write_text(
        "import torch\nimport fimetric as fm\n\ndef objective():\n"
        "    layer = torch.nn.Linear(5, 1).eval()\n"
        "    return fm.objectives.Objective(lambda x: layer(x).square().sum(1), layer)\n"
    )
    return folder


def on_tables(tables, tmp_path, kind, model, **values):
    files = {"own": tables / "own.csv", "far": tables / "far.csv", "model": tables / model}
    return grid(tables, tmp_path, kind=kind, **{"methods": THREE, **files, **values})


def refused(path, folder, error, *words):
    """Run a grid that is refused before it leaves a file, and find some words in what is said."""
    with pytest.raises(error) as caught:
        run(read(path), folder / "run", jobs=1, progress=False)
    said = str(caught.value)
    assert [word for word in words if word not in said] == [], said
    assert not [p for p in folder.rglob("run/**/*") if p.is_file()]


@pytest.mark.parametrize(("kind", "options"), [("wavenet", ""), ("theirs", 'samples = "sounds"')])
def test_a_model_of_another_shape_is_refused_as_fit_refuses_it(tables, tmp_path, kind, options):
    path = on_tables(tables, tmp_path, kind, "wavenet", options=options)
    said = "own has samples of shape (3,), the model takes (64,)"
    refused(path, tmp_path, ValueError, f"sentences, models.{kind}: model = ", said)


def test_a_reference_of_another_shape_is_refused_too(tables, tmp_path):
    values = {"options": "", "more": f'reference = "{tables / "wide.csv"}"'}
    path = on_tables(tables, tmp_path, "nsf", "nsf", **values)
    said = "wide has samples of shape (4,), the model takes (3,)"
    refused(path, tmp_path, ValueError, "sentences, models.nsf: model = ", said)


def test_a_committed_model_of_another_shape_is_refused(tables, tmp_path):
    save(build("nsf", "tiny", (4,)), tmp_path / "kept" / "sentences-nsf")
    path = on_tables(tables, tmp_path, "nsf", "nsf", options="")
    text = path.read_text().replace(f'model = "{tables / "nsf"}"', 'config = "tiny"')
    path.write_text(f'checkpoints = "{tmp_path / "kept"}"\n{text}')
    refused(path, tmp_path, ValueError, "sentences, models.nsf: own has samples of shape (3,)")


def test_a_model_that_does_not_say_its_shape_is_asked(tables, tmp_path):
    options = {"options": 'samples = "tables"'}
    path = on_tables(tables, tmp_path, "theirs", "theirs.py:objective", **options)
    refused(path, tmp_path, RuntimeError, "models.theirs: model = ", "Linear fails on samples")


def test_rows_are_no_texts(texts, tables, tmp_path):
    model = texts / "transformer"
    path = on_tables(tables, tmp_path, "transformer", model, options="")
    refused(path, tmp_path, TypeError, "own: the data are floats")
    far = str(tables / "far.csv")
    path = grid(texts, tmp_path, kind="transformer", model=model, options="", far=far)
    refused(path, tmp_path, TypeError, "far: the data are floats")


def test_data_and_backgrounds_that_are_not_there_are_told(texts, tmp_path):
    here = "relative paths are taken from the folder that the command runs in"
    path = grid(texts, tmp_path, far="fra.txt")
    refused(path, tmp_path, FileNotFoundError, "sentences: there is no fra.txt", here)
    given = {"kind": "transformer", "model": texts / "transformer"}
    path = grid(texts, tmp_path, **given, options='background = "nowhere"')
    refused(path, tmp_path, FileNotFoundError, "models.transformer: background = 'nowhere'", here)
    path = grid(texts, tmp_path, kind="transformer", model="runs/nothing", options="")
    refused(path, tmp_path, FileNotFoundError, "there is no runs/nothing", here)


def test_methods_without_what_they_learn_from_are_refused_where_they_are_named(tables, tmp_path):
    values = {"options": "", "methods": '["likelihood", "typicality", "pyod-knn", "pyod-ecod"]'}
    path = grid(tables, tmp_path, kind="nsf", model=tables / "nsf", **values,
                own=tables / "own.csv", far=tables / "far.csv")  # fmt: skip
    refused(
        path,
        tmp_path,
        ValueError,
        "sentences, models.nsf: pyod-knn and pyod-ecod: there is nothing to learn from",
        "give a folder with files called train and test; or take these out of methods",
    )


def unnamed(path):
    """Leave the methods of a grid unsaid."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("methods")]
    path.write_text("\n".join(lines))
    return path


def test_they_are_left_out_where_nobody_named_them(tables, tmp_path, caplog):
    random = np.random.default_rng(0)
    for name, n in (("own", 48), ("far", 12)):
        np.save(tmp_path / f"{name}.npy", 0.1 * random.normal(size=(n, 64)).astype(np.float32))
    files = {"own": tmp_path / "own.npy", "far": tmp_path / "far.npy"}
    path = grid(tables, tmp_path, kind="wavenet", model=tables / "wavenet", options="", **files)
    asked = read(unnamed(path))
    with caplog.at_level(logging.WARNING, "fimetric.benchmark.checking"):
        found = run(asked, tmp_path / "run", jobs=1, progress=False)
    assert {"fimetric", "loudness"} < {c.method for c in found.comparisons}
    assert not {c.method for c in found.comparisons} & {"autoencoder", "autoencoder-mahalanobis"}
    line = "autoencoder: left out of sentences-wavenet: there is nothing to learn from: "
    page = write(found, asked, tmp_path / "run").read_text()
    assert page.count(f"- {line}") == 1 == sum(line in each for each in caplog.messages)
    assert "min-k" not in page and "waic" not in page  # for other models: no fault of this grid


def test_a_background_that_is_no_language_model(texts, tables, tmp_path):
    given = {
        "kind": "transformer",
        "model": texts / "transformer",
        "options": f'background = "{tables / "nsf"}"',
    }
    path = grid(
        texts, tmp_path, **given, methods='["likelihood", "typicality", "likelihood-ratio"]'
    )
    said = ("likelihood-ratio: with background = ", "nsf': LikelihoodRatio needs a CausalLM")
    refused(path, tmp_path, ValueError, *said, "take these out of methods")
    found = run(read(unnamed(path)), tmp_path / "run", jobs=1, progress=False)
    methods = {c.method for c in found.comparisons}
    assert "likelihood-ratio" not in methods and "perplexity" in methods


def test_a_method_is_told_that_does_not_fit_or_has_no_background(texts, tables, tmp_path, caplog):
    methods = '["likelihood", "typicality", "min-k", "waic", "likelihood-ratio"]'
    path = on_tables(tables, tmp_path, "nsf", "nsf", options="", methods=methods)
    asked = read(path)
    with caplog.at_level(logging.WARNING, "fimetric.benchmark.checking"):
        found = run(asked, tmp_path / "tables", jobs=1, progress=False)
    lines = [
        "min-k: left out of sentences-nsf: its samples are tables, not texts",
        "waic: left out of sentences-nsf: it takes 3 models that differ in their seed alone",
        "likelihood-ratio: left out of sentences-nsf: its samples are tables, not texts",
    ]
    assert caplog.messages == lines
    page = write(found, asked, tmp_path / "tables").read_text()
    assert [f"- {line}" in page for line in lines] == [True] * 3
    (tmp_path / "far.txt").write_text(sentences(12, WORDS[:2], 1))
    given = {"kind": "transformer", "model": texts / "transformer", "options": ""}
    caplog.clear()
    run(read(grid(texts, tmp_path, **given, methods=methods)), tmp_path / "texts", 1, False)
    assert [line for line in caplog.messages if "left out" in line] == [
        lines[1].replace("nsf", "transformer"),
        "likelihood-ratio: left out of sentences-transformer: the model has no background",
    ]


def test_one_method_has_a_page_and_none_is_refused(tables, tmp_path):
    path = on_tables(tables, tmp_path, "nsf", "nsf", options="", methods='["min-k", "waic"]')
    path.write_text(path.read_text().replace('["likelihood", "typicality"]', '["min-k"]'))
    refused(path, tmp_path, ValueError, "no method is left: min-k: left out of sentences-nsf: its")
    path.write_text(path.read_text().replace('"waic"', '"likelihood"'))
    asked = read(path)
    found = run(asked, tmp_path / "one", jobs=1, progress=False)
    page = write(found, asked, tmp_path / "one").read_text()
    assert {c.method for c in found.comparisons} == {"likelihood"}
    assert "## In short" not in page and "## False alarms" not in page
    assert (tmp_path / "one" / "matrix.png").stat().st_size > 5000
