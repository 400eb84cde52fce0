"""Reconstruction errors against Euler's method one sample at a time."""

import numpy as np
import pytest
import torch
from known_diffusion import COVARIANCE, MEAN, SHAPE, abar, centred, gaussian, images, noise, walk

from fimetric.statistics.reconstruction import Reconstruction, path

LEVELS = {
    (30, 1): [30],
    (30, 3): [30, 15, 0],
    (600, 5): [600, 450, 300, 150, 0],
    (2, 5): [2, 1, 0],
    (0, 4): [0],
}


@pytest.mark.parametrize(("start", "steps"), LEVELS)
@pytest.mark.parametrize("clipped", [True, False])
def test_error_of_the_way_back(start, steps, clipped):
    objective = gaussian(seed=4, centred=clipped)
    x = images() if clipped else 2 * images() - 1
    a = [abar(objective, t) for t in LEVELS[start, steps]]
    expected = []
    for x_0 in centred(images()):
        x_t = np.sqrt(a[0]) * x_0 + np.sqrt(1 - a[0]) * noise(f"t={start}/draw=0", 4)
        found, _ = walk(x_t, [*a, 1.0])
        found = found.clip(-1, 1) if clipped else found
        expected.append([np.log(((x_0 - found) ** 2).mean())])
    statistic = Reconstruction(objective, (start,), steps)
    np.testing.assert_allclose(statistic.measure(x).detach(), expected, rtol=1e-6)
    assert path(start, steps) == LEVELS[start, steps]


def test_a_model_of_one_image_reconstructs_that_image():
    """Whatever the noise, the start and the steps."""
    objective = gaussian(covariance=0 * COVARIANCE)
    expected = (2 * images().flatten(1) - 1 - MEAN).square().mean(1).log()
    for steps in (1, 4):
        found = Reconstruction(objective, (10, 999), steps).measure(images()).detach()
        torch.testing.assert_close(found, expected[:, None].expand(5, 2), rtol=1e-6, atol=1e-6)


def test_only_reconstructions_of_centred_data_stay_in_a_range():
    """A model of one image far outside: its reconstruction is cut to the range's end, if known."""
    far = gaussian(mean=torch.full_like(MEAN, 9.0), covariance=0 * COVARIANCE)
    found = Reconstruction(far, (10,)).measure(torch.zeros(1, *SHAPE).double())
    torch.testing.assert_close(found.detach(), torch.full((1, 1), 4.0).double().log())
    free = gaussian(mean=torch.full_like(MEAN, 9.0), covariance=0 * COVARIANCE, centred=False)
    found = Reconstruction(free, (10,)).measure(torch.zeros(1, *SHAPE).double())
    torch.testing.assert_close(found.detach(), torch.full((1, 1), 81.0).double().log())


@pytest.mark.parametrize("n", [1, 5])  # five samples, five starting points
def test_default_starting_points(n):
    statistic = Reconstruction(gaussian())
    assert statistic.timesteps == (100, 300, 500, 700, 900)
    assert statistic.names == [f"t={t}/error" for t in statistic.timesteps]
    alone = [Reconstruction(gaussian(), (t,)).measure(images(n)) for t in statistic.timesteps]
    torch.testing.assert_close(statistic.measure(images(n)), torch.cat(alone, 1))
    assert Reconstruction(gaussian(length=5)).timesteps == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": ()}, "timesteps of Reconstruction must be different"),
        ({"timesteps": (3, 1000)}, "from 0 to 999"),
        ({"steps": 0}, "steps of Reconstruction must be at least 1, not 0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Reconstruction(gaussian(), **settings)
