"""The default density has one name, in one place."""

import inspect
from pathlib import Path

import pytest
import torch

import fimetric as fm
from fimetric.benchmark.methods import METHODS
from fimetric.cli import demo, models
from fimetric.detectors import DEFAULT, DENSITIES
from fimetric.objectives import Objective

MODEL = torch.nn.Linear(3, 3)


@pytest.mark.parametrize(
    "found",
    [
        fm.Detector(Objective(lambda x: MODEL(x).sum(1), MODEL)).density.name,
        inspect.signature(models.fit).parameters["density"].default,
        METHODS["fimetric"].density.name,
        *[name for name, title in demo.NAMES.items() if title == "the default"],
    ],
)
def test_whoever_takes_a_density_unnamed_takes_the_default(found):
    assert found == DEFAULT == DENSITIES[DEFAULT].name


def test_no_other_place_spells_its_name():
    source = Path(fm.__file__).parent
    spelt = [p for p in source.rglob("*.py") if f'"{DEFAULT}"' in p.read_text(encoding="utf-8")]
    assert [p.name for p in spelt] == ["balanced_neighbours.py"]
