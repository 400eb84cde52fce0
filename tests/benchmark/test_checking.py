"""Models, data and methods that do not go together are told before anything is written."""

from pathlib import Path

import pytest
from given_grids import grid, rows, text_files

import fimetric as fm
from fimetric.benchmark.config import read
from fimetric.benchmark.run import run
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
