"""The claim that norms are weakly correlated, on features that are known."""

import numpy as np
import pytest
from given import K, independent, whole

from fimetric.claims.correlation import correlation
from fimetric.claims.correlation import judge as judge_correlation
from fimetric.fisher.correlation import Correlation


def test_independent_layers_hold(known, tmp_path, undrawn):
    found = correlation(known(own=(independent(), None)), tmp_path)
    assert found.verdict == "holds"
    assert found.numbers["own: effective number"] > K - 2


def test_layers_that_are_alike_do_not(known, tmp_path, undrawn):
    alike = independent()[:, :1] + 0.5 * independent(1)
    found = correlation(known(own=(alike, None)), tmp_path)
    assert found.verdict == "does not hold"
    assert found.numbers["own: effective number"] < 2


def test_neighbours_alone_hold_in_part(known, tmp_path, undrawn):
    z = independent(n=2000)[:, :3]
    blocks = np.repeat(z, K // 3, axis=1) + 0.1 * independent(1, n=2000)
    found = correlation(known(own=(blocks, None)), tmp_path)
    assert found.numbers["own: mean absolute"] > 0.2
    assert found.numbers["own: mean absolute beyond 10"] < 0.2
    assert found.verdict == "holds in part"
    assert found.numbers["own: effective number"] == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize(
    ("reach", "r", "verdict"), [(5, 0.3, "holds"), (12, 0.5, "holds in part"), (15, 0.9, None)]
)
def test_correlation_is_judged_by_its_criterion(reach, r, verdict):
    """Layers are correlated up to a distance: of pairs more than 10 apart 25, or 55, of 91."""
    distance = np.abs(np.subtract.outer(np.arange(24), np.arange(24)))
    matrix = np.where(distance == 0, 1, np.where(distance <= reach, -r, 0))
    found = Correlation(matrix, tuple(map(str, range(24))), 100)
    assert judge_correlation(found) == (verdict or "does not hold")


def test_foreign_sets_are_correlated_in_the_layers_of_the_own(known, tmp_path):
    own, foreign, dead = independent(), independent(1), independent(2)
    own[:, 3] = 0.0  # not informative
    foreign[:2, 5] = -np.inf
    dead[:, 7] = -np.inf  # no row is left
    found = correlation(
        known(own=(own, None), foreign=(foreign, None), dead=(dead, None)), tmp_path
    )
    assert found.numbers["foreign: layers"] == K - 1
    assert found.numbers["foreign: rows left out"] == 2
    assert not any(key.startswith("dead") for key in found.numbers)
    assert any(note.startswith("dead is left out: 0 of 200 rows") for note in found.notes)
    assert [row[0] for row in found.tables[0].rows] == ["own", "foreign"]
    whole(found, tmp_path)


def test_one_layer_has_no_correlation(known, tmp_path, undrawn):
    assert correlation(known(own=(independent()[:, :1], None)), tmp_path) is None
    two = correlation(known(own=(independent()[:, :2], None)), tmp_path)
    assert two.verdict == "holds"
