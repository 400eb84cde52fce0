"""The claim that foreign data have larger norms, on features that are known."""

import numpy as np
import pytest
from given import K, N, independent, whole

from fimetric.claims.norms import Shift, choose_two, norms
from fimetric.claims.norms import judge as judge_norms
from fimetric.metrics import Estimate


def own_and(known, foreign, losses=None):
    random = np.random.default_rng(9)
    return known(own=(independent(), random.normal(size=N)), foreign=(foreign, losses))


def test_larger_norms_that_the_loss_does_not_show_hold(known, tmp_path, undrawn):
    losses = np.random.default_rng(8).normal(size=150)
    foreign = independent(1, n=150) + 2
    foreign[0] = 1e6  # an outlier that a mean would follow
    study = known(own=(3 * independent(), np.zeros(N)), foreign=(3 * foreign, losses))
    study.tables["own"].losses[:] = np.random.default_rng(9).normal(size=(N, 1))
    found = norms(study, tmp_path)
    assert found.verdict == "holds"
    assert found.numbers["foreign: share of layers with larger norms"] == 1
    assert found.numbers["foreign: median shift in deviations"] == pytest.approx(2, abs=0.2)
    # of two normals two deviations apart: Phi(2 / sqrt 2)
    assert found.numbers["foreign: median separation of a layer"] == pytest.approx(0.421, abs=0.02)
    for size in (1, 5):
        assert found.numbers[f"foreign: AUROC of layerwise-gaussian, groups of {size}"] > 0.95
        for detector in ("typicality", "likelihood"):
            auroc = found.numbers[f"foreign: AUROC of {detector}, groups of {size}"]
            assert auroc == pytest.approx(0.5, abs=0.2)


def test_groups_are_described_by_the_mean_of_log_norms(known, tmp_path, undrawn):
    """Whose spread is smaller by sqrt 5, so that a small shift is seen."""
    found = norms(own_and(known, independent(1) + 0.5, np.zeros(N)), tmp_path)
    single, five = (
        found.numbers[f"foreign: AUROC of layerwise-gaussian, groups of {size}"] for size in (1, 5)
    )
    assert five > single + 0.2


def test_smaller_norms_do_not_hold_though_they_are_detected(known, tmp_path, undrawn):
    found = norms(own_and(known, independent(1) - 3, np.zeros(N)), tmp_path)
    assert found.verdict == "holds in part"
    assert found.numbers["foreign: share of layers with larger norms"] == 0
    assert found.numbers["foreign: median separation of a layer"] == pytest.approx(0.483, abs=0.02)
    assert found.numbers["foreign: AUROC of layerwise-gaussian, groups of 1"] > 0.95


def test_norms_that_are_alike_do_not_hold(known, tmp_path, undrawn):
    found = norms(own_and(known, independent(1), np.full(N, 50.0)), tmp_path)
    assert found.verdict == "does not hold"
    assert found.numbers["foreign: AUROC of typicality, groups of 1"] == 1


def test_fitted_on_one_half_and_tested_on_the_other(known, tmp_path, undrawn):
    own = independent()
    own[N // 2 :] += 4  # foreign to the first half
    study = known(
        own=(own, np.zeros(N)),
        first=(independent(1), np.zeros(N)),
        second=(independent(1) + 4, np.zeros(N)),
    )
    found = norms(study, tmp_path).numbers
    assert found["first: AUROC of layerwise-gaussian, groups of 1"] < 0.05
    assert found["second: AUROC of layerwise-gaussian, groups of 1"] == pytest.approx(0.5, abs=0.1)


def test_rows_and_sets_that_are_strange_are_taken(known, tmp_path):
    own, foreign = independent(), independent(1)
    own[3, 2] = own[150, 3] = np.nan
    foreign[:120, 4] = -np.inf  # its median as well
    foreign[5, 6] = np.inf
    losses = np.zeros(N)
    study = known(
        own=(own, losses),
        foreign=(foreign, losses),
        few=(independent(2, n=3), np.zeros(3)),
        broken=(np.full((7, K), np.nan), np.zeros(7)),
    )
    found = norms(study, tmp_path)
    assert any("foreign: 1 samples are not finite" in note for note in found.notes)
    assert "few: AUROC of typicality, groups of 1" in found.numbers
    assert "few: AUROC of typicality, groups of 5" not in found.numbers
    assert found.numbers["broken: AUROC of layerwise-gaussian, groups of 1"] > 0.98
    whole(found, tmp_path)


def test_without_foreign_data_there_is_nothing_to_say(known, tmp_path, undrawn):
    assert norms(known(own=(independent(), None)), tmp_path) is None


def test_too_few_rows_are_not_grouped(known, tmp_path, undrawn):
    study = known(own=(independent(n=8), np.arange(8.0)), foreign=(independent(n=8), np.ones(8)))
    found = norms(study, tmp_path)
    assert not any("groups of 5" in key for key in found.numbers)


def scores(**sets):
    return {
        name: {
            "layerwise-gaussian": Estimate(ours, 0, 1),
            "typicality": Estimate(theirs, 0, 1),
        }
        for name, (ours, theirs) in sets.items()
    }


@pytest.mark.parametrize(
    ("sets", "larger", "verdict"),
    [
        ({"a": (0.9, 0.9), "b": (1.0, 0.2)}, 0.6, "holds"),
        ({"a": (0.9, 0.9), "b": (1.0, 0.2)}, 0.5, "holds in part"),
        ({"a": (0.95, 0.96), "b": (1.0, 0.2)}, 0.6, "holds in part"),
        ({"a": (0.89, 0.5), "b": (1.0, 0.2)}, 0.6, "holds in part"),
        ({"a": (0.6, 0.55), "b": (0.3, 0.9)}, 0.6, "holds in part"),
        ({"a": (0.3, 0.2), "b": (0.3, 0.9)}, 0.6, "does not hold"),
        ({"a": (0.8, 0.9), "b": (0.3, 0.9)}, 0.6, "holds in part"),
        ({"a": (0.79, 0.9), "b": (0.3, 0.3)}, 0.6, "does not hold"),
        ({}, 0.6, "does not hold"),
    ],
)
def test_norms_are_judged_by_their_criterion(sets, larger, verdict):
    shifts = {"a": Shift(larger, 1, 0.4, 0), "b": Shift(0.9, 1, 0.4, 0)}
    assert judge_norms(shifts, scores(**sets)) == verdict


def test_two_layers_are_large_and_spread_and_from_either_half(make_features):
    values = independent()[:, :6] * [1, 9, 2, 1, 5, 3]
    features = make_features(N=N, J=6, values=values, numels=[90, 1, 90, 90, 1, 95])
    assert choose_two(features) == (2, 5)
    small = make_features(N=N, J=6, values=values, numels=[1, 1, 1, 90, 90, 90])
    assert choose_two(small) == (1, 4)  # the first half has no large one
    assert choose_two(features.columns(features.names[:1])) is None
