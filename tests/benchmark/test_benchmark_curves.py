import numpy as np
import pytest

from fimetric.benchmark.page.curves import BINS, POINTS, binned
from fimetric.benchmark.results import Curves
from fimetric.metrics import auroc

RANDOM = np.random.default_rng(0)
OWN = RANDOM.normal(size=500)
OTHER = RANDOM.normal(1.0, 2.0, size=300)
SCORES = {
    "ordinary": (OWN, OTHER),
    "some infinite": (OWN, np.append(OTHER, [np.inf] * 40)),
    "all infinite": (np.full(3, np.inf), np.full(2, np.inf)),
    "foreign infinite": (OWN, np.full(2, np.inf)),
    "all alike": (np.zeros(4), np.zeros(5)),
    "own alike": (np.full(4, 1e9), np.linspace(0, 1e30, 50)),
    "far": (OWN, 1e12 + OTHER),
    "spread widely": (np.exp(3 * OWN), np.exp(30 * OTHER)),
    "large and close": (1e9 + OWN, 1e9 + OTHER),
    "largest": (OWN, np.array([-1.7e308, 1.7e308])),
    "one each": (np.array([1.0]), np.array([2.0])),
}


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_in_a_bin_and_the_curve_has_the_area(name):
    own, other = SCORES[name]
    found = binned(Curves(own, other))
    for side, counts in ((own, found["own"]), (other, found["other"])):
        assert len(counts) == BINS + 3 <= 40
        assert sum(counts) == len(side)
        assert counts[-1] == np.isinf(side).sum()
    false, true = np.array(found["roc"]).reshape(-1, 2).T / 1000
    assert len(false) <= POINTS
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    # A chord stands for less than two steps of 2/59: it cuts off less than (4/59)^2 / 2.
    area = (np.diff(false) * (true[1:] + true[:-1]) / 2).sum()
    assert area == pytest.approx(auroc(own, other), abs=0.01)
    assert all(0 <= place <= 1 for place, _ in found["ticks"])
    labels = [label for _, label in found["ticks"]]
    assert len(set(labels)) == len(labels) >= 2
    assert [float(label) for label in labels] == sorted(map(float, labels))


def test_the_axis_is_asinh_only_where_the_own_set_would_be_a_line():
    assert not binned(Curves(OWN, OTHER))["wide"]
    assert binned(Curves(OWN, 1e6 * OTHER))["wide"]
    assert np.count_nonzero(binned(Curves(OWN, 1e6 * OTHER))["own"]) > 3


def test_the_bins_of_both_sides_are_shared():
    found = binned(Curves(OWN, OWN.copy()))
    assert found["own"] == found["other"]
    assert (found["own"][0], found["own"][BINS + 1]) == (5, 5)  # 1% at either end


@pytest.mark.parametrize("bad", [[], [np.nan]])
def test_no_scores_and_nan_are_refused(bad):
    with pytest.raises(ValueError, match="nan"):
        binned(Curves(OWN, np.array(bad)))
