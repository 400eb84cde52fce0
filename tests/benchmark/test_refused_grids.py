"""What a grid asks for that is not there, or would be silently wrong, is told before the work."""

from pathlib import Path

import numpy as np
import pytest
from given_grids import WORDS, grid, rows, sentences, text_files

from fimetric.benchmark.config import read
from fimetric.benchmark.run import run
from fimetric.models import build, save


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return text_files(tmp_path_factory.mktemp("texts"))


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
        (
            {"options": 'samples = "texts"\noptions = { windw = 64 }'},
            r"sets: .*own.txt: ours: no option 'windw'; options are timesteps, .*, window, ",
        ),
        ({"options": 'samples = "texts"\noptions = { seed = 1 }'}, "no option 'seed'"),
        ({"kind": "diffusion", "options": "options = { draws = 2 }"}, "options would change"),
    ],
)
def test_what_does_not_fit_together_is_refused(texts, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        read(grid(texts, tmp_path, **values))


def test_a_model_that_is_not_there_is_told_before_the_work(texts, tmp_path):
    path = grid(texts, tmp_path, model="nowhere")
    entry = "sentences, models.ours: model = 'nowhere': nowhere is no path"
    with pytest.raises(FileNotFoundError, match=f"{entry}.*the folder that the command runs in"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)


def test_a_set_with_too_few_samples_is_told(texts, tmp_path):
    (tmp_path / "few.txt").write_text(sentences(9, WORDS, 0))
    path = grid(texts, tmp_path, far=str(tmp_path / "few.txt"))
    with pytest.raises(ValueError, match="has 9 samples, fewer than fewest=10: set fewest"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)


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


def test_sounds_of_another_rate_are_refused(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    random = np.random.default_rng(0)
    for name, n, rate in (("own", 48, 8000), ("far", 12, 16000)):
        (tmp_path / name).mkdir()
        for i in range(n):
            soundfile.write(tmp_path / name / f"{i}.wav", 0.1 * random.normal(size=64), rate)
    save(build("wavenet", "tiny", (64,)), tmp_path / "model")
    files = {"own": tmp_path / "own", "far": tmp_path / "far"}
    path = grid(tmp_path, tmp_path, kind="wavenet", options="", **files)
    with pytest.raises(ValueError, match=r"has 16000 values a second, .* 8000"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)


def test_a_reference_that_makes_no_groups_is_refused(texts, tmp_path):
    (tmp_path / "few.txt").write_text(sentences(7, WORDS, 0))
    path = grid(texts, tmp_path, more=f'reference = "{tmp_path / "few.txt"}"')
    with pytest.raises(ValueError, match=r"has 7 samples; a reference needs 8, .* group_sizes"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)


def test_a_model_that_does_not_open_is_told_before_another_is_measured(texts, tmp_path):
    more = '[sets.models.theirs]\nmodel = "nowhere"\nsamples = "texts"'
    path = grid(texts, tmp_path, options=f'samples = "texts"\n{more}')
    with pytest.raises((OSError, ValueError), match="nowhere is no path"):
        run(read(path), tmp_path / "run", jobs=1, progress=False)
    assert not (tmp_path / "run" / "tables").exists()
