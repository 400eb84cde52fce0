"""Score norms against the score of a Gaussian."""

import numpy as np
import pytest
from known_diffusion import MEAN, abar, centred, gaussian, images, precision

from fimetric.statistics.msma import MSMA


@pytest.mark.parametrize("n", [1, 3])  # three samples, three timesteps
def test_norms_of_the_score_of_the_clean_sample(n):
    objective = gaussian()
    statistic = MSMA(objective, (0, 50, 999))
    assert statistic.names == ["t=0/score", "t=50/score", "t=999/score"]
    expected = np.zeros((n, 3))
    for i, x in enumerate(centred(images(n))):
        for k, t in enumerate((0, 50, 999)):
            a = abar(objective, t)
            score = -precision(a) @ (np.sqrt(a) * (x - MEAN.numpy()))
            expected[i, k] = np.linalg.norm(score)
    np.testing.assert_allclose(statistic.measure(images(n)).detach(), expected, rtol=1e-9)


@pytest.mark.parametrize(("centre", "scale"), [(True, 2.0), (False, 1.0)])
def test_default_levels_are_geometric_in_sigma(centre, scale):
    objective = gaussian(centred=centre)
    a = objective.scheduler.alphas_cumprod.double()
    sigmas = ((1 - a) / a).sqrt().numpy()
    found = MSMA(objective).timesteps
    assert len(found) == 10
    wanted = scale * np.geomspace(0.01, 1, 10)
    assert np.abs(np.log(sigmas[list(found)] / wanted)).max() < 0.13  # of steps of 0.51
    for t, sigma in zip(found, wanted, strict=True):  # none lies nearer
        assert np.abs(np.log(sigmas / sigma)).min() == np.abs(np.log(sigmas[t] / sigma))


def test_a_short_schedule_takes_no_timestep_twice():
    timesteps = MSMA(gaussian(length=3)).timesteps
    assert len(timesteps) == len(set(timesteps)) <= 3
    assert MSMA(gaussian(), levels=1).timesteps == MSMA(gaussian()).timesteps[:1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": ()}, "timesteps of MSMA must be different"),
        ({"timesteps": (-1,)}, "from 0 to 999"),
        ({"levels": 0}, "levels must be at least 1, not 0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        MSMA(gaussian(), **settings)


def test_a_table_is_kept_in_a_folder_since_the_timesteps_tell_the_levels(tmp_path):
    made = MSMA(gaussian(), levels=2)
    for statistic in (made, MSMA(gaussian(), made.timesteps)):
        found = statistic.features(images(3), folder=tmp_path / "f", progress=False)
        assert len(found) == 3
