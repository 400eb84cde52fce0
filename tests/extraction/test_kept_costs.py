"""What norms were chosen by stays with features and detectors, so that later ones are as exact."""

from dataclasses import asdict

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric import Features, extract
from fimetric.detection import saved as detectors
from fimetric.extraction import parts
from fimetric.features import saved as tables
from fimetric.gradients.contributions.costs import FIXED, Costs, using
from fimetric.objectives import Objective

GRAM, DIRECT = Costs(calls=-1e30, gram=1e-6), Costs(calls=1e30)
X = torch.randn(60, 3, 40, generator=torch.Generator().manual_seed(0))


def objective() -> Objective:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(40, 50), nn.Tanh(), nn.Linear(50, 40))
    return Objective(lambda x: (model(x) - x).square().sum((1, 2)), model)


def stopping(after: int):
    yield from X[: after * 5].split(5)
    raise KeyboardInterrupt


def chosen_by(costs: Costs) -> Features:
    with using(costs):
        return extract(objective(), X, 5)


def without_costs(kind, folder):
    """Write what is in a folder again, as it was before costs were kept."""
    content, payload = kind.read(folder)
    fields = {k: v for k, v in msgspec.structs.asdict(content).items() if k != "costs"}
    names = [name for name in content.__struct_fields__ if name != "costs"]
    former = msgspec.defstruct("Description", names)(**fields)
    type(kind)(kind.name, kind.version, type(former), kind.again).write(folder, former, payload)
    assert b'"costs"' not in (folder / f"{kind.name}.json").read_bytes()


def test_the_choice_shows_in_the_last_bits_alone():
    gram, direct = chosen_by(GRAM), chosen_by(DIRECT)
    assert (gram.values != direct.values).any()
    np.testing.assert_allclose(gram.values, direct.values, rtol=0, atol=1e-5)


def test_features_keep_their_costs(tmp_path):
    features = chosen_by(GRAM)
    features.save(tmp_path / "f")
    assert features.costs == Features.load(tmp_path / "f").costs == asdict(GRAM)
    assert extract(objective(), X, 5).costs == asdict(FIXED)
    both = Features.concatenate([features, chosen_by(DIRECT)])  # they differ by rounding
    assert both.costs == asdict(GRAM)


def test_features_of_before_have_none(tmp_path):
    features = extract(objective(), X, 5)
    features.save(tmp_path / "f")
    without_costs(tables.KIND, tmp_path / "f")
    former = Features.load(tmp_path / "f")
    assert former.costs is None
    np.testing.assert_array_equal(former.values, features.values)


@pytest.mark.parametrize("costs", [GRAM, DIRECT, None], ids=["Gram", "direct", "of before"])
def test_an_interrupted_extraction_goes_on_by_its_costs(tmp_path, monkeypatch, costs):
    monkeypatch.setattr(parts, "PART_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt), using(costs or FIXED):
        extract(objective(), stopping(2), 5, folder=tmp_path / "f")
    if costs is None:
        for part in (tmp_path / "f.parts").iterdir():
            without_costs(tables.KIND, part)
    with using(DIRECT if costs == GRAM else GRAM):
        features = extract(objective(), X, 5, folder=tmp_path / "f")
    whole = chosen_by(costs or FIXED)
    np.testing.assert_array_equal(features.values, whole.values)
    assert features.costs == (costs and asdict(costs))


@pytest.mark.parametrize("costs", [GRAM, DIRECT, None], ids=["Gram", "direct", "of before"])
def test_a_detector_goes_on_by_the_costs_it_was_fitted_with(tmp_path, costs):
    with using(costs or FIXED):
        detector = fm.Detector(objective(), batch_size=5).fit(X)
    detector.save(tmp_path / "d")
    if costs is None:
        without_costs(detectors.KIND, tmp_path / "d")
    with using(DIRECT if costs == GRAM else GRAM):
        loaded = fm.Detector.load(tmp_path / "d", objective())
        for each in (detector, loaded):
            np.testing.assert_array_equal(each.features(X).values, chosen_by(costs or FIXED).values)
            (_, first), *_ = each.stream(X, 5)
            assert first.costs == asdict(costs or FIXED)
    assert detectors.read(tmp_path / "d")[0].costs == (costs and asdict(costs))


def test_a_detector_fitted_again_forgets_the_costs_of_before(tmp_path):
    detector = fm.Detector(objective(), batch_size=5)
    with using(GRAM):
        detector.fit(X)
    with using(DIRECT):
        assert detector.fit(X).features(X).costs == asdict(DIRECT)


def test_a_detector_takes_the_costs_of_features():
    detector = fm.Detector(objective(), batch_size=5).fit(chosen_by(GRAM))
    assert detector.features(X).costs == asdict(GRAM)
