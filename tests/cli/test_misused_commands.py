"""Misuses of the commands, one a row: what is typed, and the telling words of the one sentence."""

import re
import shlex
import shutil
from collections import Counter
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fimetric import Detector, extract, models
from fimetric.cli import app
from fimetric.data import load
from fimetric.objectives import from_pretrained, standard_objective

BARE = (
    r"^error: '[^']*'$",  # KeyError
    "object has no attribute",
    "out of (range|bounds)",
    "not supported between",
    "object is not",
    "has no len",
    "cannot be interpreted as",
    "could not convert string",
    "Errno",
)
COMMANDS = [
    ("train", "gan --data digits --out new", "unknown kind of model 'gan'; known are vae, glow"),
    ("train", "vae --data digits --out new --steps 0", "steps must be at least 1"),
    ("train", "vae --data digits --out new --config huge", "unknown VAE configuration 'huge'"),
    ("train", "vae --data digits --out new --device tpu", "no device 'tpu' here; use cpu"),
    ("train", "vae --data 255.npy --out new", "x / 255 brings them there"),
    ("train", "vae --data no.png --out new", "no.png"),
    ("train", "vae --data digits --out file", "file is a file; name a folder"),
    ("train", "vae --data digits --out new --seed -1", "seed must be from 0"),
    ("extract", "no --data digits --out new", "no is no path, and the hub did not give it"),
    ("extract", "./no --data digits --out new", "there is no ./no; give an existing folder or"),
    ("extract", "D --data digits --out new", "D is no model that is known here, which are: a mod"),
    ("extract", "M --data wide.npy --out new", "model takes .*pass --channels 1"),
    ("extract", "M --data 255.npy --out new", r"lie in \[0, 1\]"),
    ("extract", "M --data digits --out M", "holds no features of an earlier extraction"),
    (
        "extract",
        "M --data digits --out new --timesteps 0,x",
        "timesteps must be numbers, as in 0,10",
    ),
    ("extract", "M --data digits --out new --batch-size 0", "batch.size must be at least 1"),
    ("extract", "M --data digits --out new --limit 3 --group-size 5", "not one whole group of 5"),
    ("extract", "no.py:flow --data t.npy --out new", "no file no.py; give FILE.py:FUNCTION"),
    ("extract", "own.py:no --data t.npy --out new", "own.py has no function 'no'; define it"),
    ("extract", "own.py:two --data t.npy --out new", r"own.py:two needs arguments \(x\)"),
    ("extract", "own.py:fails --data t.npy --out new", "own.py:fails fails: KeyError: 'weights'"),
    (
        "extract",
        "own.py:model --data t.npy --out new",
        "own.py:model returned Linear.*return one of",
    ),
    ("extract", "own.py:one --data t.npy --out new", "own.py has no function 'one'"),
    ("extract", "bad.py:flow --data t.npy --out new", "bad.py fails as it is run: SyntaxError"),
    ("extract", "own.py:flow --data wide.npy --out new", "fails on samples wide/0 to"),
    ("extract", "own.py:flow --data t.npy --out new --draws 2", "draws=2 does not concern a funct"),
    ("extract", "own.py:flow --data t.npy --out new --parameters no.*", "fits 'no.\\*'; there are"),
    ("extract", "M --data digits --out new --parameters ''", "no parameter of VAE fits ''"),
    ("extract", "M --data digits --out new --window 8", "window=8 concerns models of texts, not a"),
    ("extract", "M --data digits --out new --positions 8", "positions=8 does not concern"),
    ("extract", "M --data digits --out new --condition label", "condition='label' does not concer"),
    ("extract", "M --data digits --out new --dtype float64", "dtype='float64' does not concern"),
    ("extract", "M --data digits --out new --base M", "base='M' does not concern"),
    ("extract", "M --data digits --out new --revision main", "revision='main' is for models of"),
    ("extract", "M --data digits --out new --trust-remote-code", "trust_remote_code=True does not"),
    ("inspect", "no", "no is no path, and the hub did not give it"),
    ("inspect", "./no", "there is no ./no; give an existing folder or file"),
    ("inspect", "file", r"file is no model that is known here \(pickled models are not read"),
    ("inspect", "F", "F is no model that is known here, which are: a model that fimetric"),
    ("inspect", "own.py:fails", "own.py:fails fails: KeyError"),
    ("inspect", "M --data wide.npy", "model takes .*pass --channels 1"),
    ("inspect", "M --data digits --timesteps 3", "timesteps are for diffusion models"),
    ("inspect", "own.py:flow --data 255.npy", "x / 255"),
    ("inspect", "M --device tpu", "no device 'tpu' here; use cpu"),
    ("fit", "no --data digits --out new", "no is no path, and the hub did not give it"),
    ("fit", "M --data digits --out D", "D exists already; pass --overwrite"),
    ("fit", "M --data digits --out new --density kd", "no density 'kd'; there are"),
    ("fit", "M --data digits --out new --limit 3", "too few to fit"),
    ("fit", "M --data digits --out file --overwrite", "file is a file"),
    ("fit", "M --data F --out new --draws 2", "these features come from another"),
    ("fit", "M --data digits --out new --group-size 0", "group_size must be at least 1"),
    ("score", "no --model M --data digits --out s.csv", "no"),
    ("score", "M --model M --data digits --out s.csv", "M holds no detector.*it is a model"),
    ("score", "D --model M --data digits --out s.txt", "must end in .csv or .parquet"),
    ("score", "D --model M --data digits --out s.csv --alpha 5", "5.* percent is 0.05"),
    ("score", "D --model M --data digits --out s.csv --alpha 0.0001", "calibrate on at least 9999"),
    ("score", "D --model M --data wide.npy --out s.csv", "pass --channels 1"),
    ("score", "D --model M --data 255.npy --out s.csv", "x / 255"),
    ("score", "D --model M --data digits --out file/s.csv", "file is a file"),
    ("score", "D --data digits --out s.csv --trust-remote-code", "trust_remote_code=True does not"),
    ("score", "D --data digits --out s.csv --base M", "base='M' does not concern"),
    ("score", "D --model own.py:flow --data digits --out s.csv", "fitted with another objective"),
    ("score", "hand --data digits --out s.csv", "objective was made by hand.*pass --model"),
    ("score", "own --data t.npy --out s.csv", "named again alone; pass --model on the command"),
    ("score", "own --model own.py:other --data t.npy --out s.csv", "own was fitted with another"),
    ("score", "moved/D --data digits --out s.csv", "is not at .*/M, where it was.*pass --model"),
    ("score", "changed/D --data digits --out s.csv", "fitted with another model"),
    ("evaluate", "M --id digits --ood digits --out new", "it cannot be an OOD set too"),
    ("evaluate", "M --id digits --ood letters --out new --density kd", "no density 'kd'"),
    ("evaluate", "M --id digits --ood letters --out new --group-size 0", "at least 1, not 0"),
    ("evaluate", "M --id digits --ood wide.npy --out new", "pass --channels 1"),
    ("evaluate", "M --id digits --ood 255.npy --out new", "x / 255"),
    ("evaluate", "M --id digits --ood letters --out new --limit 2", "too few for density"),
    ("evaluate", "M --id digits --ood letters --out new --batch-size 0", "batch.size must be"),
    ("analyse", "M --data digits --out new --claim no", "no claim 'no'; there are score"),
    ("analyse", "M --data digits --out new --samples 1", "at least 200 samples"),
    ("analyse", "M --data digits --out new --batch-size 0", "batch.size must be at least 1"),
    ("analyse", "M --data digits --out new --ood digits", "it cannot be foreign too"),
    ("analyse", "M --data digits --out file", "file is a file"),
    (
        "analyse",
        "own.py:flow --data t.npy --out new",
        "own.py:flow is not a model that fimetric tr",
    ),
    ("analyse", "F --data digits --out new", "F is not a model that fimetric trained; the claims"),
    ("analyse", "M --data digits --out new --timesteps 4", "timesteps are for diffusion models"),
    ("benchmark", "no --out new", "no file and no tier; tiers: smoke"),
    ("benchmark", "bad.toml --out new", "bad.toml: "),
    ("benchmark", "odd.toml --out new", "no setting 'foo'; there are sets"),
    ("benchmark", "smoke --out file", "file is a file"),
    ("benchmark", "smoke --out new --jobs 0", "jobs must be at least 1"),
    ("benchmark", "M --out new", "M is no file and no tier"),
    ("retrain", "gan --data digits --ood letters --out new", "unknown kind of model 'gan'"),
    ("retrain", "vae --data digits --ood letters --out file", "file is a file"),
    ("retrain", "vae --data digits --ood letters --out new --steps 0", "steps must be at least 1"),
    ("retrain", "vae --data digits --ood wide.npy --out new", "pass --channels 1"),
    ("retrain", "vae --data 255.npy --ood letters --out new", "x / 255"),
    ("retrain", "vae --data digits --ood letters --out new --config huge", "configuration 'huge'"),
    ("demo", "--out file", "file is a file; name a folder"),
    ("demo", "--out file/new", "file is a file; name a folder"),
    ("demo", "--out new --seed -1", "seed must be from 0"),
    ("demo", "--out new --seed 99999999999999999999", "seed must be from 0"),
    ("demo", "--out new --seed x", "valid integer"),
    ("demo", "--out new --steps 3", "No such option: --steps"),
]


OUT_OF_RANGE = {
    **dict.fromkeys(["--batch-size", "--group-size", "--limit", "--size", "--steps"], "0"),
    "--rate": "0",
    **dict.fromkeys(["--window", "--positions"], "0"),
    **dict.fromkeys(["--draws", "--jobs", "--validate-every", "--seed"], "-3"),
    "--lr": "nan",
}
TYPED = {
    "train": "vae --data digits --out new",
    "evaluate": "M --id digits --ood letters --out new",
    "score": "M --model M --data digits --out new",
    "retrain": "vae --data digits --ood letters --out new",
    "benchmark": "smoke --out new",
    "inspect": "M --data digits",
    "demo": "--out new",
}


@pytest.mark.parametrize("option", OUT_OF_RANGE)
def test_a_number_out_of_range_is_refused_as_soon_as_it_is_typed(option, monkeypatch):
    # called next, it would end in another error
    monkeypatch.setattr("fimetric.store.folders.new_folder", None)
    name = option.strip("-").replace("-", "_")
    takers = [
        c.callback for c in app.registered_commands if name in signature(c.callback).parameters
    ]
    assert takers
    for command in (taker.__name__ for taker in takers):
        typed = [command, *shlex.split(TYPED.get(command, "M --data digits --out new"))]
        result = CliRunner().invoke(app, [*typed, option, OUT_OF_RANGE[option]])
        assert result.stderr.startswith(f"error: {name} must be "), (command, result.output)
        assert OUT_OF_RANGE[option] in result.stderr and result.exit_code == 1


OWN = """
import torch
from fimetric.objectives import NegativeLogLikelihood, Objective

def model():
    return torch.nn.Linear(3, 3)

def flow():
    torch.manual_seed(0)
    net = model()
    return Objective(lambda x: (net(x) - x).square().sum(1), net, name="reconstruction")

def other():
    net = model()
    return Objective(lambda x: (net(x) - x).abs().sum(1), net, name="another")

def two(x, y=1):
    return flow()

def fails():
    return {}["weights"]
"""
LONG = "n" * 300
NAMES = [  # of each kind, in each place
    *(f"{command} {name} --data digits --out new" for command in ("extract", "fit", "analyse")
      for name in ("''", LONG)),
    *(f"{command} M --data {name} --out new" for command in ("extract", "fit", "analyse")
      for name in ("''", LONG)),
    *(f"{command} --data digits --out {name}" for command in ("train vae", "extract M", "fit M")
      for name in ("''", LONG, "n" * 250)),
    *(f"score {name} --model M --data digits --out s.csv" for name in ("''", LONG)),
    *(f"score D --model {name} --data digits --out s.csv" for name in ("''", LONG)),
    *(f"score D --model M --data {name} --out s.csv" for name in ("''", LONG)),
    *(f"score D --model M --data digits --out {name}.csv" for name in (LONG, "n" * 240)),
    *(f"evaluate M --id digits --ood {name} --out new" for name in ("''", LONG)),
    *(f"retrain vae --data digits --ood {name} --out new" for name in ("''", LONG)),
    *(f"benchmark {name} --out new" for name in ("''", LONG)),
    *(f"inspect {name}" for name in ("''", LONG)),
    *(f"inspect M --data {name}" for name in ("''", LONG)),
    *(f"demo --out {name}" for name in ("''", LONG)),
]  # fmt: skip


@pytest.mark.parametrize("typed", NAMES, ids=[re.sub("nn+", "long", typed) for typed in NAMES])
def test_a_name_that_no_file_can_have_is_refused_in_one_line(place, monkeypatch, typed):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    result = CliRunner().invoke(app, shlex.split(typed))
    said = "too long for the name" if "nnnn" in typed else "is an empty name"
    assert result.stderr.startswith("error: ") and said in result.stderr, result.output
    assert result.stderr.count("\n") == 1 and "Errno" not in result.stderr
    assert sorted(place.rglob("*")) == before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model M, a detector D, features F, and data of wrong kinds."""
    home = tmp_path_factory.mktemp("commands")
    digits = load("digits", limit=60)
    models.save(models.build("vae", "tiny", digits.shape), home / "M")
    objective = from_pretrained(home / "M")
    Detector(objective).fit(digits).save(home / "D")
    shutil.copytree(home / "D", home / "moved" / "D")
    shutil.copytree(home / "D", home / "changed" / "D")
    models.save(models.build("vae", "tiny", digits.shape, seed=1), home / "changed" / "M")
    hand = standard_objective(models.load(home / "M"))
    Detector(hand).fit(digits).save(home / "hand")
    (home / "own.py").write_text(OWN)
    (home / "bad.py").write_text("def flow(:")
    table = torch.rand(60, 3, generator=torch.Generator().manual_seed(0))
    np.save(home / "t.npy", table.numpy())
    Detector(from_pretrained(f"{home}/own.py:flow")).fit(table).save(home / "own")
    extract(objective, digits, folder=home / "F", progress=False)
    np.save(home / "wide.npy", np.zeros((5, 3, *digits.shape[1:]), np.uint8))
    np.save(home / "255.npy", np.full((5, *digits.shape), 200, np.float32))
    (home / "file").write_text("a file")
    (home / "bad.toml").write_text("a = [")
    (home / "odd.toml").write_text("foo = 1")
    return home


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    COMMANDS,
    ids=[f"{command} {arguments}" for command, arguments, _ in COMMANDS],
)
def test_a_misused_command_ends_in_one_sentence(place, monkeypatch, command, arguments, message):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    result = CliRunner().invoke(app, [command, *shlex.split(arguments)])
    assert result.exit_code in (1, 2), (result.output, result.exception)
    said = " ".join(result.stderr.split())
    assert re.search(message, said), said
    if result.exit_code == 1:
        assert said.startswith("error: ") and result.stderr.count("\n") == 1
        assert not any(re.search(bare, said) for bare in BARE), said
    assert sorted(place.rglob("*")) == before  # nothing was written


def test_every_command_has_five_kinds_of_misuse():
    number = Counter(command for command, *_ in COMMANDS)
    assert set(number) == {command.callback.__name__ for command in app.registered_commands}
    assert min(number.values()) >= 5
