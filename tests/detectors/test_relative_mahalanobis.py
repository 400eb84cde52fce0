"""What the background column says is taken off, and nothing of it is learned."""

import numpy as np
import pytest

from fimetric.detectors import FullGaussian, NotExplainableError, RelativeMahalanobis


@pytest.mark.parametrize("place", [0, 2, 4])
def test_it_is_the_gaussian_of_the_others_less_the_column(make_features, place):
    own, new = make_features(), make_features(N=9, seed=1)
    name = own.names[place]
    rest = [column for column in own.names if column != name]
    scores = RelativeMahalanobis(name).fit(own).score(new)
    plain = FullGaussian().fit(own.columns(rest)).score(new)
    np.testing.assert_allclose(scores, plain - new.values[:, place], rtol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_strange_background_is_a_strange_row(make_features, value):
    new = make_features(N=3, seed=1)
    new.values[1, 0] = value
    scores = RelativeMahalanobis("layer0.weight").fit(make_features()).score(new)
    np.testing.assert_array_equal(np.isposinf(scores), [False, True, False])


def test_it_needs_the_column_and_others(make_features):
    for table in (make_features(), make_features(J=1, names=["background"])):
        with pytest.raises(ValueError, match=r"no column 'background' beside .*HiddenStates"):
            RelativeMahalanobis().fit(table)
    with pytest.raises(NotExplainableError, match="relative-mahalanobis"):
        RelativeMahalanobis("layer0.weight").fit(make_features()).explain(make_features())
