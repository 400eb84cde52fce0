"""Power sums along the path from sample to noise, against Euler's method one sample at a time."""

import itertools

import numpy as np
import pytest
import torch
from known_diffusion import MEAN, abar, centred, gaussian, images, walk

from fimetric.statistics.diffpath import DiffPath


@pytest.mark.parametrize(
    ("steps", "timesteps"), [(2, (0, 500)), (7, (0, 142, 285, 428, 571, 714, 857))]
)
@pytest.mark.parametrize("n", [1, 6])  # six samples, six columns
def test_six_power_sums(steps, timesteps, n):
    objective = gaussian()
    statistic = DiffPath(objective, steps)
    assert statistic.timesteps == timesteps
    levels, expected = [abar(objective, t) for t in timesteps], []
    for x in centred(images(n)):
        _, eps = walk(x, levels)
        slopes = [(later - eps_t) * steps for eps_t, later in itertools.pairwise(eps)]
        expected.append([sum((v**p).sum() for v in vs) for vs in (eps, slopes) for p in (1, 2, 3)])
    np.testing.assert_allclose(statistic.measure(images(n)).detach(), expected, rtol=1e-8)
    assert statistic.names == ["eps^1", "eps^2", "eps^3", "d_eps^1", "d_eps^2", "d_eps^3"]


def test_ten_steps_by_default():
    assert DiffPath(gaussian()).timesteps == tuple(range(0, 1000, 100))
    assert DiffPath(gaussian(length=10)).timesteps == tuple(range(10))


def test_an_image_and_its_negative_differ_in_the_odd_powers_only():
    statistic = DiffPath(gaussian(mean=torch.zeros_like(MEAN)))
    sign = torch.tensor([-1, 1, -1]).repeat(2)  # the model is symmetric around 0
    found, negative = statistic.measure(images()), statistic.measure(1 - images())
    torch.testing.assert_close(negative, sign * found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 0, 11])
def test_settings_that_make_no_sense(steps):
    with pytest.raises(ValueError, match=f"from 2, .* the schedule's 10; got {steps}"):
        DiffPath(gaussian(length=10), steps)
