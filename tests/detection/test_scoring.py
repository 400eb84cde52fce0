import csv

import numpy as np
import pytest
import torch

import fimetric as fm
from fimetric.detection.scoring import write_scores


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 6)
    objective = fm.objectives.Objective(lambda x: (model(x) - x).square().sum(1), model)
    return fm.Detector(objective, group_size=2).fit(torch.randn(200, 6))


def data(n, seed=1):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: list(x.split(9)), lambda x: x.numpy()])
def test_the_file_holds_what_the_detector_says(detector, tmp_path, wrap):
    x = data(140)
    groups, alarms = write_scores(detector, wrap(x), tmp_path / "s.csv", alpha=0.2)
    rows = read(tmp_path / "s.csv")
    assert len(rows) == groups == 70
    np.testing.assert_allclose(
        [float(r["score"]) for r in rows], detector.score(x), rtol=1e-3, atol=1e-3
    )
    decided = [r["out_of_distribution"] == "True" for r in rows]
    assert decided == [float(r["p_value"]) <= 0.2 for r in rows]
    assert sum(decided) == alarms
    assert rows[1]["id"] == "2 3"


def test_confidence_only_makes_alarms_rarer(detector, tmp_path):
    _, plain = write_scores(detector, data(200), tmp_path / "a.csv", alpha=0.2)
    _, careful = write_scores(detector, data(200), tmp_path / "b.csv", alpha=0.2, confidence=0.95)
    assert careful <= plain


def test_features_are_checked_and_scored(detector, tmp_path):
    features = fm.extract(detector.objective, data(20))
    assert write_scores(detector, features, tmp_path / "s.csv")[0] == 10
    joint = fm.extract(detector.objective, data(20), group_size=2)
    with pytest.raises(ValueError, match="another group size: 2, not 1"):
        write_scores(detector, joint, tmp_path / "t.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv"]


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: iter(x.split(64))])
def test_a_broken_group_or_sample_leaves_the_old_file(detector, tmp_path, wrap):
    target = tmp_path / "s.csv"
    target.write_text("old")
    with pytest.raises(ValueError, match="do not make whole groups of 2; leave out 1"):
        write_scores(detector, wrap(data(131)), target)
    x = data(130)
    x[129, 2] = torch.nan
    with pytest.raises(ValueError, match=r"129.*NaN or infinite"):
        write_scores(detector, wrap(x), target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_sample_that_breaks_the_model_is_an_alarm(detector, tmp_path):
    x = data(130)
    x[4] = 3e38  # finite, but its loss is not
    write_scores(detector, x, tmp_path / "s.csv")
    row = read(tmp_path / "s.csv")[2]
    assert row["score"] == "inf"
    assert float(row["p_value"]) == detector.calibration.smallest_p
    assert row["out_of_distribution"] == "True"
