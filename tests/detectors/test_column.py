"""A column of the table is the score, whatever the lengths of the rows."""

import numpy as np
import pytest

from fimetric.detection.judge import Judge
from fimetric.detectors import Column


def test_a_column_and_its_distance_from_the_mean(make_features):
    own, new = make_features(J=3), make_features(N=7, J=3, seed=1)
    for j, name in enumerate(own.names):
        y = new.values[:, j]
        np.testing.assert_array_equal(Column(name).fit(own).score(new), y)
        distance = [abs(value - sum(own.values[:, j]) / len(own)) for value in y]
        scores = Column(name, two_sided=True).fit(own).score(new)
        np.testing.assert_allclose(scores, distance, rtol=1e-12)


def test_the_only_column_needs_no_name(make_features):
    own, new = make_features(N=1, J=1), make_features(N=4, J=1, seed=1)
    np.testing.assert_array_equal(Column().fit(own).score(new), new.values[:, 0])
    with pytest.raises(ValueError, match=r"no column is named .* one of 'layer0.weight', 'layer1"):
        Column().fit(make_features(J=12))
    with pytest.raises(ValueError, match=r"no column 'min-20%' in .* takes one of 'layer0.weight'"):
        Column("min-20%").fit(own)
    with pytest.raises(ValueError, match=r"sample 'image0': its 'layer0.weight' is not finite"):
        Column().fit(make_features(N=1, J=1, values=[[-np.inf]]))


@pytest.mark.parametrize("two_sided", [False, True])
def test_after_levelling_large_is_strange_at_every_length(make_features, two_sided):
    """The column falls with the length T as 3 / log T, and its deviation as 1 / sqrt T."""
    random = np.random.default_rng(0)

    def table(N, shift=0.0):
        T = np.exp(random.uniform(np.log(16), np.log(256), N)).astype(int)
        e = (random.normal(size=N) + shift) / np.sqrt(T)
        values = np.stack([3 / np.log(T) + e, random.normal(size=N)], 1)
        return make_features(N=N, J=2, values=values, dimensions=T), T

    own, known = (table(400)[0] for _ in range(2))
    density = Column(own.names[0], two_sided)
    judge = Judge.fit(density, own)
    assert judge.trend is not None
    threshold = np.quantile(judge.scores(known), 0.95)
    for shift, expected in ((0.0, 0.05), (4.0, 1.0), (-4.0, float(two_sided))):
        rows, T = table(600, shift)
        alarms = judge.scores(rows) > threshold
        for part in (T < 64, T >= 64):
            assert abs(alarms[part].mean() - expected) < 0.06
    raw = Column(own.names[0]).fit(own).score(own)
    assert np.corrcoef(raw, np.log(own.dimensions))[0, 1] < -0.5
