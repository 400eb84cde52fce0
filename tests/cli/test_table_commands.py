"""The whole job on a table in a file: its numbers are the columns, its labels are none."""

import csv

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fimetric.cli import app
from fimetric.models import load
from fimetric.objectives import from_pretrained


def write(path, rows) -> None:
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["width", "label", "height", "id", "weight"])
        for i, (a, b, c) in enumerate(rows):
            writer.writerow([a, "own", b, f"row {i}", c])


def p_values(path) -> np.ndarray:
    return np.array([float(row["p_value"]) for row in csv.DictReader(path.read_text().split("\n"))])


def call(line: str) -> str:
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A working folder with tables, and a flow trained on one of them."""
    folder, random = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    for name, n, shift in (("own", 200, 0), ("held", 160, 0), ("other", 20, 40)):
        write(folder / f"{name}.csv", (random.normal(size=(n, 3)) + shift) * [1, 10, 1000])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call("train nsf --data own.csv --config tiny --steps 40 --validate-every 20 --out model")
        yield folder


def test_labels_and_names_are_no_columns(home):
    assert load("model").shape == (3,)


def test_a_run_that_is_called_again_goes_on(home):
    before = (home / "model/model.safetensors").read_bytes()
    call("train nsf --data own.csv --config tiny --steps 40 --validate-every 20 --out model")
    assert (home / "model/model.safetensors").read_bytes() == before


def test_a_model_is_inspected_fitted_and_scored(home):
    assert "of shape (3,)" in call("inspect model --data held.csv")
    call("fit model --data held.csv --out detector")
    for name in ("own", "other"):
        call(f"score detector --model model --data {name}.csv --out {name}-scores.csv")
    own, other = (p_values(home / f"{name}-scores.csv") for name in ("own", "other"))
    assert np.median(own) > 0.2 and other.max() < 0.05


def test_a_folder_is_an_objective(home):
    objective = from_pretrained("model")
    x = load("model").sample(4, None)
    torch.testing.assert_close(objective(x), -load("model").log_prob(x))
