"""A new family is a file and a row: everything else works with it."""

import pyarrow.parquet as pq
import pytest
import torch
from toy_family import TOY, Toy
from typer.testing import CliRunner

from fimetric.cli import app
from fimetric.families import register
from fimetric.models import FAMILIES, VAE, Family, build, load

GRID = """
held_out = 80
samples = 20
costly_samples = 20
group_sizes = [1, 5]
looks = []
[families.toy]
config = "tiny"
steps = 3
[[sets]]
data = "digits"
far = ["letters"]
"""
COMMANDS = {
    "extract": "extract model --data digits --limit 40 --out features",
    "fit": "fit model --data digits --limit 40 --out detector",
    "score": "score detector --model model --data letters --limit 9 --out scores.csv",
    "evaluate": "evaluate model --id digits --ood letters --limit 60 --density kde --out table",
    "analyse": "analyse model --data digits --claim score --samples 200 --out analysis",
    "retrain": "retrain toy --data digits --ood letters --steps 3 --out retraining",
    "benchmark": "benchmark grid.toml --jobs 1 --out benchmark",
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a trained model of a family that is made known for these tests alone."""
    register(TOY)
    folder = tmp_path_factory.mktemp("toy")
    (folder / "grid.toml").write_text(GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call("train toy --data digits --config tiny --steps 5 --out model")
        yield folder
    del FAMILIES["toy"]


def call(line):
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_family_that_was_made_known(work, command):
    call(COMMANDS[command])
    assert (work / COMMANDS[command].split()[-1]).exists()


def test_what_a_family_lacks_is_not_asked_of_it(work):
    methods = set(pq.read_table(work / "benchmark" / "scores.parquet")["method"].to_pylist())
    assert {"fimetric", "likelihood", "input-complexity-png"} <= methods
    assert methods.isdisjoint({"msma-mixture", "likelihood-regret", "latent-fit", "dose-kde"})


def test_a_model_of_it_is_opened_as_what_it_is(work):
    assert type(load("model")) is Toy


ROW = {"kind": "other", "model": Toy, "objective": TOY.objective}
WRONG = [
    ({"kind": ""}, "kind is ''; it must be a name"),
    ({"kind": "a/b"}, "kind is 'a/b'; it must be a name"),
    ({"kind": 3}, "kind is 3; it must be a name"),
    ({"model": torch.nn.Linear}, "a class made from fimetric.models.Model"),
    ({"objective": None}, "objective must be a function"),
    ({"has": {"nats"}}, "has names 'nats'; there are 'a bound"),
    ({"samples": "smells"}, "samples names 'smells'; there are 'images'"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_a_row_that_would_fail_later_is_refused(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Family(**{**ROW, **fields})


def test_a_name_and_a_class_belong_to_one_family():
    with pytest.raises(TypeError, match=r"a family is a fimetric\.models\.Family"):
        register("toy")
    with pytest.raises(ValueError, match="VAE is known as 'vae' already"):
        register(Family(**{**ROW, "kind": "vae"}))
    with pytest.raises(ValueError, match="VAE is known as 'vae' already"):
        register(Family(**{**ROW, "model": VAE}))
    assert "other" not in FAMILIES


def test_a_model_of_no_known_family_says_how_to_make_it_known():
    with pytest.raises(ValueError, match=r"what fimetric\.families\.register makes known"):
        build("other", "tiny", (1, 8, 8))
