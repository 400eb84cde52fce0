import csv
import io

import pytest
from PIL import Image
from rich.console import Console

import fimetric as fm
from fimetric.cli.demo import demo
from fimetric.data import load
from fimetric.data.codes import gaussian_bits_per_dim, png_bits_per_dim
from fimetric.models import load as load_model
from fimetric.objectives import standard_objective


@pytest.fixture(scope="module", autouse=True)
def small():
    """Fewer samples and resamplings; what is told about them is the same."""

    def few(name, split, limit=120):
        return load(name, split=split, limit=min(limit, 120))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fimetric.cli.demo.load", few)
        patch.setattr("fimetric.judging.judge.REPEATS", 50)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    console = Console(file=io.StringIO(), width=60)
    demo(folder, console, steps=8)
    return folder, console.file.getvalue()


def test_what_is_printed_is_what_is_written(run):
    folder, said = run
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(r["ood"], r["group_size"], r["detector"]) for r in rows}
    norms = ("the default", "the default (mean)")
    assert found == {
        (ood, size, detector)
        for ood in ("patches", "letters")
        for size in ("1", "5")
        for detector in ("likelihood", "typicality", *norms[: 2 if size == "5" else 1])
    }
    printed = [line for line in said.splitlines() if line.startswith("│")]
    assert len(printed) == len(rows)
    for line, row in zip(printed, rows, strict=True):
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        estimates = [
            f"{float(row[m]):.3f} [{float(row[m + '_low']):.3f}, {float(row[m + '_high']):.3f}]"
            for m in ("auroc", "aupr", "fpr_at_95_tpr")
        ]
        assert cells == [row["ood"], row["group_size"], row["detector"], *estimates]


def test_code_lengths_are_printed(run):
    said = " ".join(run[1].split())
    digits, held_out = (load("digits", split=part, limit=120) for part in ("train", "test"))
    gaussian, png = gaussian_bits_per_dim(digits, held_out), png_bits_per_dim(held_out)
    assert f"bits per dimension; a Gaussian per pixel needs {gaussian:.2f}, PNG {png:.2f}" in said


def test_the_detector_and_the_picture_are_there(run):
    folder, _ = run
    model = load_model(folder / "model")
    detector = fm.Detector.load(folder / "detector", standard_objective(model))
    assert detector.p_value(load("letters", limit=4)).shape == (4,)
    with Image.open(folder / "overview.png") as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("RGB").getcolors(10**7)) > 10
    assert not [p for p in folder.rglob("*") if p.name.startswith(".") or ".parts" in p.name]


def test_a_second_demo_goes_on_from_the_first(run, monkeypatch):
    folder, said = run
    for slow in ("_draw", "_detect"):
        monkeypatch.setattr(f"fimetric.cli.demo.{slow}", lambda *_: None)
    again = Console(file=io.StringIO(), width=60)
    demo(folder, again, steps=8)
    assert "Training" not in again.file.getvalue()
    table = [line for line in said.splitlines() if line.startswith("│")]
    assert [x for x in again.file.getvalue().splitlines() if x.startswith("│")] == table
