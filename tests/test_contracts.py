"""Each contract between rooms fails where it is broken: in `make check`."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fimetric.models import FAMILIES

ROOT = Path(__file__).parents[1]
BREACHES = {  # contract -> a file, and a line that it may not hold
    "A room imports from the floors below it alone": (
        "data/samples.py",
        "from fimetric.objectives.base import Objective",
    ),
    "Right of the table of features there is no torch": ("detectors/kde.py", "import torch"),
    "The engine knows neither objectives nor data nor models": (
        "gradients/norms.py",
        "from fimetric.data.batch import Batch",
    ),
    "No family of models imports another": (
        "models/vae.py",
        "from fimetric.models.glow import Glow",
    ),
    "Families are named in one place": (
        "claims/ways.py",
        "from fimetric.models.glow import Glow",
    ),
    "Pictures are drawn by report, pages and pictures alone": (
        "judging/judge.py",
        "import matplotlib",
    ),
}
LONG = pytest.mark.skipif(
    os.environ.get("FIMETRIC_CHECK") != "long", reason="ten seconds: make check runs it"
)


@pytest.fixture
def copy(tmp_path):
    """A copy of the package with its contracts, to be spoilt."""
    shutil.copytree(ROOT / "src" / "fimetric", tmp_path / "fimetric")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def lint(folder: Path) -> str:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    path = {**os.environ, "PYTHONPATH": str(folder)}
    found = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True)
    return " ".join(found.stdout.split())


@LONG
@pytest.mark.parametrize("contract", BREACHES)
def test_a_breach_is_found(contract, copy):
    file, line = BREACHES[contract]
    place = copy / "fimetric" / file
    place.write_text(f"{place.read_text()}\n\ndef planted() -> None:\n    {line}\n")
    assert f"{contract} BROKEN" in lint(copy)


@LONG
def test_every_contract_is_kept_and_has_its_breach(copy):
    assert f"Contracts: {len(BREACHES)} kept, 0 broken" in lint(copy)


def test_every_family_is_under_the_contracts_of_families():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    files = {family.model.__module__ for family in FAMILIES.values()}
    apart = contracts["importlinter:contract:families"]["modules"].split()
    named = contracts["importlinter:contract:one-place"]["forbidden_modules"].split()
    assert set(apart) == files
    assert set(named) == files | {"fimetric.families"}
