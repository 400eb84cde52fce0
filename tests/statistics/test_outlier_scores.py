"""Values are those of the row, and scores those of PyOD, of one row at a time."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM
from torch import nn

from fimetric.data import Samples
from fimetric.detectors import Column
from fimetric.objectives import Objective
from fimetric.statistics import OutlierScores, RowValues
from fimetric.statistics.outlier_scores import DETECTORS

pytest.importorskip("pyod")
COLUMNS = ("width", "height", "weight")


def samples(n: int, seed: int = 0, shift: float = 0.0) -> Samples:
    """Return rows of skewed columns in different units."""
    z = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).exp() + shift
    return Samples(z * torch.tensor([1.0, 10.0, 1000.0]), columns=COLUMNS)


@pytest.fixture(scope="module")
def objective():
    model = nn.Linear(3, 1)
    return Objective(lambda x: model(x)[:, 0], model)


@pytest.fixture(params=DETECTORS)
def statistic(request, objective):
    return OutlierScores(objective, samples(60), request.param)


def standardised(rows: torch.Tensor) -> np.ndarray:
    train = samples(60).tensor().double().numpy()
    return (rows.double().numpy() - train.mean(0)) / train.std(0)


def test_values_are_the_standardised_columns(objective):
    found = RowValues(objective, samples(60)).features(samples(7, 1), progress=False)
    assert found.names == COLUMNS
    np.testing.assert_allclose(found.values, standardised(samples(7, 1).tensor()), rtol=1e-12)


def test_columns_without_spread_or_names(objective):
    rows = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    values = RowValues(objective, Samples(rows))
    assert values.names == ["column0", "column1"]
    expected = torch.tensor([[-1.0, 0.0], [1.0, 2.0]]).double()
    assert torch.equal(values.measure(torch.tensor([[1.0, 5.0], [3.0, 7.0]])), expected)


def test_what_is_no_table_is_refused(objective):
    with pytest.raises(ValueError, match=r"pictures has samples of shape \(1, 8, 8\)"):
        RowValues(objective, Samples(torch.zeros(2, 1, 8, 8), name="pictures"))
    with pytest.raises(ValueError, match="no detector 'abod'; there are ecod, copod, "):
        OutlierScores(objective, samples(60), "abod")


def test_a_score_depends_on_its_row_alone(statistic):
    x = samples(9, 1).tensor()
    alone = torch.cat([statistic.measure(row[None]) for row in x])
    torch.testing.assert_close(statistic.measure(x), alone, rtol=1e-6, atol=1e-6)


def test_rows_far_from_the_training_rows_score_higher(statistic):
    own, far = (statistic.features(s, progress=False) for s in (samples(40, 1), samples(40, 2, 9)))
    density = Column().fit(own)
    assert np.median(density.score(far)) > np.quantile(density.score(own), 0.9)


def test_it_repeats_itself_and_leaves_global_generators_alone(statistic, objective):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = OutlierScores(objective, samples(60), statistic.detector)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    x = samples(9, 1).tensor()
    assert torch.equal(again.measure(x), statistic.measure(x))
    assert again.describe() == statistic.describe()
    assert OutlierScores(objective, samples(60, 3), statistic.detector).describe() != (
        statistic.describe()
    )


def fifth_distance(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.sort(np.linalg.norm(rows[:, None] - train, axis=2), axis=1)[:, 4]


def tails(train: np.ndarray, rows: np.ndarray, joined) -> np.ndarray:
    """ECOD and COPOD: the surprise in both tails, or in that of the columns' skewness."""
    scores = []
    for row in rows:
        table = np.vstack([train, row])
        left = -np.log((table <= row).mean(0))
        right = -np.log((table >= row).mean(0))
        skewness = ((table - table.mean(0)) ** 3).mean(0)
        by_skewness = np.where(skewness < 0, left, right)
        scores.append(np.maximum(by_skewness, joined(left, right)).sum())
    return np.array(scores)


ORACLES = {
    "knn": fifth_distance,
    "ecod": partial(tails, joined=np.maximum),
    "copod": partial(tails, joined=lambda left, right: (left + right) / 2),
    "lof": lambda train, rows: -LocalOutlierFactor(novelty=True).fit(train).score_samples(rows),
    "ocsvm": lambda train, rows: -OneClassSVM(gamma="auto").fit(train).decision_function(rows),
    "iforest": lambda train, rows: (
        -IsolationForest(random_state=0).fit(train).decision_function(rows)
    ),
}


@pytest.mark.parametrize("detector", ORACLES)
def test_scores_are_those_of_the_method(detector, objective):
    statistic, x = OutlierScores(objective, samples(60), detector), samples(9, 1).tensor()
    expected = ORACLES[detector](standardised(samples(60).tensor()), standardised(x))
    found = statistic.measure(x)[:, 0].numpy()
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-6, atol=1e-9)


def test_pyod_is_imported_where_it_is_used_alone(objective, monkeypatch):
    code = "import fimetric.statistics, sys; assert 'pyod' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setitem(sys.modules, "pyod.models.lof", None)
    with pytest.raises(ImportError, match=r"needs pyod\.models\.lof, .*pip install 'pyod'"):
        OutlierScores(objective, samples(60), "lof")
