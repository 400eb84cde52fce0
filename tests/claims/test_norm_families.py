"""The claim that norms are about chi-square distributed, on features that are known."""

import numpy as np
import pytest
import torch
from given import RANK, K, N, independent

from fimetric.claims.chi_square import chi_square, spread_out
from fimetric.claims.chi_square import judge as judge_chi_square
from fimetric.data import Samples
from fimetric.fisher.families import FamilyFits, Fit


@pytest.fixture
def no_model(monkeypatch):
    """Let every layer have an effective rank of 7, the last one none."""
    monkeypatch.setattr(RANK, lambda *_: np.array([7.0] * (K - 1) + [np.nan]))


def mixed(*parts):
    """Columns in turn from several tables: (table, number of its columns)."""
    return np.concatenate([table[:, :count] for table, count in parts], axis=1)


HEAVY = 3 * np.sign(independent(3)) + 0.1 * independent(4)  # two humps: no family
CHI, FREE = independent(1, freedom=7), independent(2, freedom=3.3)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (CHI, "holds"),  # with numel degrees of freedom
        (FREE, "holds"),  # with free ones
        (mixed((CHI, 8), (FREE, 8), (HEAVY, 8)), "holds"),
        (mixed((FREE, 6), (HEAVY, 18)), "holds in part"),  # a quarter
        (HEAVY, "does not hold"),
    ],
)
def test_chi_square_is_judged_by_its_criterion(known, no_model, tmp_path, undrawn, values, verdict):
    found = chi_square(known(own=(values, None)), tmp_path)
    assert found.verdict == verdict
    assert found.numbers["own: layers"] == K
    assert found.numbers["own: effective rank"] == 7
    fitted = {name: found.numbers[f"own: {name} fits"] for name in ("chi-square", "log-normal")}
    assert (fitted["chi-square"] >= 20) == (values is CHI)
    assert sum(v for k, v in found.numbers.items() if k.endswith("closest")) == K


@pytest.mark.parametrize(
    ("chi", "moments", "likelihood", "distance", "verdict"),
    [
        ([1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.3, "holds"),
        ([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], 0.3, "holds"),
        ([0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], 0.3, "holds"),
        ([1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], 0.3, "holds in part"),
        ([1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.3, "does not hold"),
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.05, "holds in part"),
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.051, "does not hold"),
    ],
)
def test_any_chi_square_that_fits_a_layer_counts(chi, moments, likelihood, distance, verdict):
    def fit(which):
        where = np.full(4, distance)
        return Fit(where, where, where, np.where(which, 0.051, 0.05))

    fits = {
        "chi-square": fit(chi),
        "gamma": fit(moments),
        "gamma-likelihood": fit(likelihood),
        "log-normal": fit([1, 1, 1, 1]),
    }
    assert judge_chi_square(FamilyFits(tuple("abcd"), np.ones(4, int), 9, fits)) == verdict


def test_chi_square_holds_in_part_where_the_gamma_is_merely_close(
    known, no_model, tmp_path, undrawn
):
    """A log-normal that is nearly a gamma, of so many samples that each layer shows it."""
    values = 0.6 * independent(5, n=3000)
    values[:, 6:] = 1.0  # not informative
    study = known(own=(values, None))
    study.own = Samples(torch.zeros(3000, 1), name="own")
    found = chi_square(study, tmp_path)
    assert found.numbers["own: gamma fits"] == found.numbers["own: gamma-likelihood fits"] == 0
    assert found.numbers["own: gamma-likelihood median distance"] < 0.05
    assert found.verdict == "holds in part"


def test_chi_square_leaves_out_rows_and_layers_and_says_so(known, monkeypatch, tmp_path, undrawn):
    values = CHI.copy()
    values[3, 4], values[:, 5], values[7, 6] = np.nan, 1.0, -np.inf
    given = []

    def rank(objective, samples, *_):
        given.append(len(samples))
        return np.arange(1.0, K + 1)

    monkeypatch.setattr(RANK, rank)
    found = chi_square(known(own=(values, None)), tmp_path)
    assert found.numbers["own: layers"] == K - 2
    assert found.numbers["own: effective rank"] == np.median(np.delete(np.arange(1, K + 1), [5, 6]))
    assert given == [N - 1]
    assert any("own: 1 samples" in note for note in found.notes)


def test_layers_shown_are_spread_over_the_distances():
    assert spread_out(np.array([0.3, 0.1, 0.2, 0.5, 0.4]), 3) == [1, 0, 3]
    assert spread_out(np.array([0.3, 0.1]), 6) == [1, 0]
