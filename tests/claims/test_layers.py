"""The claims on layer-wise norms, on a tiny model and on hardly any data."""

import numpy as np
import pytest
import torch
from given import RANK, independent, whole

import fimetric as fm
from fimetric.claims import CLAIMS, Study, draw
from fimetric.claims.chi_square import chi_square
from fimetric.claims.correlation import correlation
from fimetric.claims.norms import norms
from fimetric.objectives import standard_objective


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    model = fm.models.build("vae", "tiny", (1, 8, 8)).eval()
    with torch.no_grad():  # not the start, where most gradients are zero
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    objective = standard_objective(model)
    made = draw(model, objective, 40, folder / "drawn", progress=False)
    foreign = {name: fm.data.load(name) for name in ("letters", "patches")}
    digits = fm.data.load("digits")
    return Study(objective, digits, foreign, made, folder, limit=60, batch_size=30, progress=False)


@pytest.mark.parametrize("claim", [chi_square, correlation, norms])
def test_on_a_model(tiny, claim, tmp_path):
    found = claim(tiny, tmp_path)
    whole(found, tmp_path)
    assert CLAIMS[found.claim] is claim
    assert found.verdict in ("holds", "holds in part", "does not hold")
    if claim is chi_square:
        assert {row[0] for row in found.tables[0].rows} == {"digits", "model samples"}
        assert 0 < found.numbers["model samples: effective rank"] < 1000
    if claim is norms:
        assert {row[0] for row in found.tables[1].rows} == {"letters", "patches"}


@pytest.mark.parametrize("layers", [1, 2])
def test_few_layers_and_few_rows_are_drawn(known, tmp_path, monkeypatch, layers):
    monkeypatch.setattr(RANK, lambda *_: np.full(layers, np.nan))
    values = [(independent(k, n=9)[:, :layers], np.arange(9.0)) for k in range(2)]
    study = known(own=values[0], foreign=values[1])
    for claim in (chi_square, correlation, norms):
        found = claim(study, tmp_path / claim.__name__)
        assert (found is None) == (claim is correlation and layers == 1)
        if found is not None:
            whole(found, tmp_path / claim.__name__)
