"""Rows of different length in the studies: they are judged as a detector judges them."""

import numpy as np
import pytest

from fimetric.detection.judge import Judge
from fimetric.detectors import Likelihood
from fimetric.judging.judge import ALPHA, judge


@pytest.fixture
def own(make_features):
    """Return rows of 16 to 256 dimensions, whose losses grow with them."""
    random = np.random.default_rng(0)
    T = random.integers(16, 257, 900)
    losses = (T * (4 + random.normal(size=900) / np.sqrt(T)))[:, None]
    values = random.normal(size=(900, 2)) + np.log(T)[:, None]
    return make_features(900, 2, 1, values=values, losses=losses, dimensions=T)


def test_length_is_levelled_and_false_alarms_are_counted_in_its_bins(own):
    fit, calibration, test = (own.select(slice(a, a + 300)) for a in (0, 300, 600))
    found = judge(Likelihood(), fit, {"test": test}, calibration=calibration)
    theirs = Judge.fit(Likelihood(), fit)
    np.testing.assert_array_equal(found.scores["test"], theirs.scores(test))
    levelled = abs(np.corrcoef(found.scores["test"], test.dimensions)[0, 1])
    assert levelled < 0.3 < abs(np.corrcoef(test.losses[:, 0], test.dimensions)[0, 1])
    known = Judge(theirs.density, theirs.trend, theirs.calibrated(calibration))
    assert found.alarms == known.reject(test, ALPHA, None).sum()
