"""A whole benchmark on tiny models: it runs, stops, goes on, and computes nothing twice."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_grids import write_grid
from typer.testing import CliRunner

from fimetric.benchmark import run as stages
from fimetric.benchmark import training
from fimetric.benchmark.cases import cases
from fimetric.benchmark.config import read
from fimetric.benchmark.kinds import TABLES
from fimetric.benchmark.places import model_folder
from fimetric.benchmark.run import run
from fimetric.benchmark.tables import Wanted, extract
from fimetric.benchmark.writing import write
from fimetric.cli import app
from fimetric.metrics import auroc
from fimetric.models import load
from fimetric.models.folder import describe
from fimetric.statistics import LikelihoodRegret

VALUES = {
    "held_out": 160,
    "samples": 40,
    "costly_samples": 10,
    "group_sizes": [1, 5],
    "consecutive": [5],
    "figure": ["typicality", "fimetric"],
    "methods": [
        *("fimetric", "likelihood", "typicality"),
        *("layerwise-gaussian", "likelihood-regret", "waic"),
    ],
    "channels": [4, 8],
    "latent": 4,
    "steps": 5,
    "seeds": [0, 1, 2],
    "near": ["patches"],
}


LONG = pytest.mark.skipif(
    os.environ.get("FIMETRIC_CHECK") != "long",
    reason="make check runs it; test_killed.py has a small run that is stopped",
)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return read(write_grid(tmp_path_factory.mktemp("grid"), **VALUES))


@pytest.fixture(scope="module")
def folder(grid, tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    found = run(grid, place, jobs=1, progress=False)
    write(found, grid, place)
    return place


@pytest.fixture(scope="module")
def found(grid, folder):
    return run(grid, folder, jobs=1, progress=False)


def files(folder: Path) -> dict[str, int]:
    """Return the files that stages keep, each with the time of its last change."""
    kept = [p for part in ("models", "tables", "scores") for p in (folder / part).rglob("*")]
    return {str(p): p.stat().st_mtime_ns for p in kept if p.is_file()}


def test_every_method_meets_every_set_once(found):
    keys = [c.key for c in found.comparisons]
    assert len(keys) == len(set(keys))
    singles = [c for c in found.comparisons if c.group_size == 1]
    first = {(c.method, c.other) for c in singles if c.model == "digits-vae"}
    methods = {"fimetric", "likelihood", "typicality", "layerwise-gaussian", "waic"}
    sets = {"letters", "patches", "rotated"}
    regret = {("likelihood-regret", other) for other in ("letters", "patches")}
    assert first == {(m, s) for m in methods for s in sets} | regret
    second = {(c.method, c.other) for c in singles if c.model == "digits-vae-1"}
    assert second == {(m, s) for m in methods - {"waic"} for s in ("letters", "patches")}


def test_groups_and_samples_are_as_many_as_asked(found):
    for c in found.comparisons:
        n = 10 if c.method == "likelihood-regret" else 40
        assert (c.own_groups, c.other_groups) == (n // c.group_size,) * 2
        assert 0 <= c.low <= c.auroc <= c.high <= 1
    assert {(c.group_size, c.arrangement) for c in found.comparisons} == {
        (1, "random"),
        (5, "random"),
        (5, "consecutive"),
    }


def test_nothing_is_computed_twice(grid, folder, monkeypatch):
    before = files(folder)
    monkeypatch.setattr(stages, "trained", None)  # a call of it would fail
    run(grid, folder, jobs=1, progress=False)
    assert files(folder) == before


@LONG
def test_a_run_that_was_stopped_ends_in_the_same_scores(grid, folder, found, tmp_path, monkeypatch):
    for part in ("models",):
        (tmp_path / part).symlink_to(folder / part)
    extract, calls = stages.extract, []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return extract(*arguments)

    monkeypatch.setattr(stages, "extract", stop)
    with pytest.raises(KeyboardInterrupt):
        run(grid, tmp_path, jobs=1, progress=False)
    monkeypatch.setattr(stages, "extract", extract)
    again = run(grid, tmp_path, jobs=1, progress=False)
    assert again.comparisons == found.comparisons


@LONG
def test_processes_side_by_side_give_the_same(grid, folder, found, tmp_path):
    (tmp_path / "models").symlink_to(folder / "models")
    assert run(grid, tmp_path, jobs=2, progress=False).comparisons == found.comparisons


def test_models_are_kept_in_half_precision_and_scored_so(folder):
    (place,) = (p for p in (folder / "models").iterdir() if p.name.count("-") == 2)
    model = load(place)
    assert all((p == p.half().float()).all() for p in model.parameters())
    size = (place / "model.safetensors").stat().st_size
    assert size < 2.6 * sum(p.numel() for p in model.parameters()) + 4000


def test_another_recipe_is_another_model(grid, folder):
    first = model_folder(cases(grid)[0], folder)
    other = replace(grid.sets[0].models[0], steps=6)
    changed = replace(grid, sets=(replace(grid.sets[0], models=(other,)),))
    assert first.exists() and not model_folder(cases(changed)[0], folder).exists()


def test_a_committed_model_of_another_configuration_is_refused(grid, folder, tmp_path):
    shutil.copytree(model_folder(cases(grid)[0], folder), tmp_path / "digits-vae")
    own = replace(grid, checkpoints=str(tmp_path))
    assert model_folder(cases(own)[0], folder) == tmp_path / "digits-vae"
    wider = replace(grid.sets[0].models[0], config={"channels": [4, 8], "latent": 5})
    other = replace(own, sets=(replace(own.sets[0], models=(wider,)),))
    with pytest.raises(ValueError, match=r"digits-vae is a vae of .*, the grid asks for a vae of"):
        model_folder(cases(other)[0], folder)
    with pytest.raises(ValueError, match="there is no folder 'nowhere' here"):
        run(replace(grid, checkpoints="nowhere"), folder, jobs=1, progress=False)
    with pytest.raises(ValueError, match="there is no device 'nowhere' here"):
        run(replace(grid, device="nowhere"), folder, jobs=1, progress=False)


def test_a_device_is_where_models_are_trained_and_opened(grid, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "train", lambda *_, **how: seen.append(how["device"]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        training.trained(cases(replace(grid, device="there"))[0], tmp_path)
    assert seen == ["there"]


def test_paired_differences_are_of_the_same_samples(found):
    (own,) = found.paired("fimetric", "fimetric", 1)
    assert own.difference == (0, 0, 0)
    (one,) = found.paired("fimetric", "likelihood", 1)
    (back,) = found.paired("likelihood", "fimetric", 1)
    assert one.difference.value == -back.difference.value
    area = {
        c.method: c.auroc
        for c in found.comparisons
        if c.key[0:2] == ("digits-vae", "letters") and c.group_size == 1
    }
    assert one.difference.value == pytest.approx(area["fimetric"] - area["likelihood"])
    assert one.pairs == 1


def test_a_costly_method_is_compared_on_the_samples_that_it_saw(found):
    (one,) = found.paired("typicality", "likelihood-regret", 1)
    ours = found.scored["digits-vae", "typicality", 1, "random"].scores
    regret = found.scored["digits-vae", "likelihood-regret", 1, "random"]
    order = np.random.default_rng(0).permutation(40)  # in which the samples were scored
    first = {
        name: [dict(zip(order, ours[name], strict=True))[i] for i in range(10)]
        for name in ("test", "letters")
    }
    expected = auroc(first["test"], first["letters"]) - regret.values["letters"]
    assert one.difference.value == pytest.approx(expected)
    assert one.difference.low < one.difference.high
    (back,) = found.paired("likelihood-regret", "typicality", 1)
    assert back.difference.value == -one.difference.value
    assert not found.paired("typicality", "likelihood-regret", 5)


def test_a_table_with_other_settings_is_another_table(grid, folder, tmp_path, monkeypatch):
    (tmp_path / "models").symlink_to(folder / "models")
    wanted = Wanted(cases(grid)[0], "regret")
    extract(wanted, tmp_path)
    extract(wanted, tmp_path)
    place = tmp_path / "tables" / "digits-vae" / "regret"
    before = set(os.listdir(place))
    shorter = replace(TABLES["regret"], make=lambda s: LikelihoodRegret(s.objective, steps=2))
    monkeypatch.setitem(TABLES, "regret", shorter)
    extract(wanted, tmp_path)
    assert len(before) == 5 and len(set(os.listdir(place)) - before) == 5


def test_what_is_written_can_be_read(found, folder):
    text = (folder / "benchmark.md").read_text()
    assert "| vae | 5 |" in text and "![AUROC" in text and "letters" in text
    assert "## By seed of the training" in text
    for size, line in ((1, "| vae | 1 |"), (5, "| vae | 5 |")):
        (row,) = (each for each in text.splitlines() if each.startswith(line))
        first = [c for c in found.comparisons if c.model == "digits-vae" and c.group_size == size]
        areas = {
            c.method: c.auroc
            for c in first
            if (c.other, c.arrangement) == ("letters", "random")  # the one far set
        }
        assert row.endswith(f"| {areas['fimetric']:.3f} |")
        assert f"| {areas['likelihood']:.3f} (" in row
    assert (folder / "matrix.png").stat().st_size > 10_000
    kept = pq.read_table(folder / "comparisons.parquet").to_pylist()
    assert kept == [asdict(c) for c in found.comparisons]
    page = (folder / "benchmark.html").read_text()
    assert "digits-vae" in page and "http" not in page.replace("http-equiv", "")
    table = pq.read_table(folder / "scores.parquet").to_pydict()
    chosen = [
        (s, v)
        for m, me, g, a, s, v in zip(
            *(table[k] for k in ("model", "method", "group_size", "arrangement", "set", "score")),
            strict=True,
        )
        if (m, me, g, a) == ("digits-vae", "fimetric", 1, "random")
    ]
    scored = found.scored["digits-vae", "fimetric", 1, "random"].scores
    assert {s for s, _ in chosen} == set(scored)
    assert [v for s, v in chosen if s == "letters"] == scored["letters"].tolist()


def test_the_command_trains_and_names_what_is_wrong(tmp_path):
    one = {**VALUES, "seeds": [0]}
    grid = write_grid(tmp_path, **one)
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["benchmark", str(grid), "--out", str(out), "--train-only", "--jobs", "1"]
    )
    assert done.exit_code == 0, done.output
    (model,) = (out / "models").iterdir()
    assert model.name.startswith("digits-vae-")
    assert describe(model).kind == "vae"
    assert set(os.listdir(out)) == {"models", "trainings"}
    write_grid(tmp_path, **{**one, "held_out": 6000})
    wrong = CliRunner().invoke(app, ["benchmark", str(grid), "--out", str(out), "--jobs", "1"])
    assert wrong.exit_code == 1
    assert "digits has 600 held-out samples; held_out=6000 asks for more" in wrong.output
