"""Tables over time against the objective with several timesteps and draws."""

import numpy as np
import pytest

import fimetric as fm
from fimetric.fisher.timesteps import Draw, at, mean_of_draws, norms_over_time, side_by_side
from fimetric.objectives import Denoising, standard_objective


@pytest.fixture
def objective():
    return standard_objective(fm.models.build("diffusion", "tiny", (1, 8, 8)).eval())


@pytest.fixture
def digits():
    return fm.data.load("digits", split="test").select(range(6))


def test_side_by_side_is_the_objective_of_several_timesteps(objective, digits, tmp_path):
    draws = [Draw(0, 0), Draw(31, 0)]
    found = norms_over_time(objective, {"digits": digits}, draws, tmp_path, progress=False)
    together = side_by_side([found[d]["digits"] for d in draws])
    both = Denoising(objective.module, objective.scheduler, (0, 31))
    expected = fm.extract(both, digits, progress=False)
    assert together.names == expected.names
    assert together.views == expected.views
    np.testing.assert_allclose(together.values, expected.values, rtol=1e-5)
    np.testing.assert_allclose(together.losses, expected.losses, rtol=1e-5)


def test_draws_are_different_and_averaged_after_the_logarithm(objective, digits, tmp_path):
    draws = [Draw(7, 0), Draw(7, 1)]
    found = norms_over_time(objective, {"digits": digits}, draws, tmp_path, progress=False)
    first, second = (found[d]["digits"] for d in draws)
    assert not np.allclose(first.values, second.values, rtol=1e-3)
    np.testing.assert_allclose(
        mean_of_draws([first, second]).values, (first.values + second.values) / 2
    )
    again = norms_over_time(objective, {"digits": digits}, draws, tmp_path, progress=False)
    np.testing.assert_array_equal(again[draws[1]]["digits"].values, second.values)


def test_settings_of_the_objective_are_kept(objective):
    other = Denoising(objective.module, objective.scheduler, (5,), loss="l1", centred=False, seed=3)
    made = at(other, Draw(2, 4))
    assert (made.timesteps, made.draws, made.loss, made.centred, made.seed) == (
        (2,),
        1,
        "l1",
        False,
        7,
    )


def test_tables_of_other_samples_are_refused(make_features):
    one, other = make_features(N=4), make_features(N=4, ids=[f"x{i}" for i in range(4)])
    with pytest.raises(ValueError, match="same samples"):
        mean_of_draws([one, other])
    with pytest.raises(ValueError, match="same samples"):
        side_by_side([one, other])
    with pytest.raises(ValueError, match="column"):
        side_by_side([one, one])
