"""Log losses at several timesteps against a loop over samples, timesteps and draws."""

import numpy as np
import pytest
from known_diffusion import abar, centred, eps_at, gaussian, images, noise

from fimetric.statistics.multiscale_losses import MultiscaleLosses

DEFAULT = [0, 10, 30, 100, 200, 300, 400, 500, 600, 800]


def by_hand(objective, x, timesteps, draws, loss, seed):
    table = np.zeros((len(x), len(timesteps)))
    for i, x_0 in enumerate(centred(x)):
        for k, t in enumerate(timesteps):
            a = abar(objective, t)
            for d in range(draws):
                eps = noise(f"t={t}/draw={d}", seed)
                error = eps - eps_at(np.sqrt(a) * x_0 + np.sqrt(1 - a) * eps, a)
                size = (error**2).sum() if loss == "l2" else np.abs(error).sum()
                table[i, k] += np.log(size) / draws
    return table


@pytest.mark.parametrize("loss", ["l1", "l2"])
@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("n", [1, 2])  # two samples, two timesteps
def test_logs_are_averaged_over_draws(loss, draws, n):
    objective = gaussian(loss=loss, seed=7, timesteps=(5,))
    statistic = MultiscaleLosses(objective, (40, 3), draws)
    assert statistic.names == ["t=40/loss", "t=3/loss"]
    expected = by_hand(objective, images(n), (40, 3), draws, loss, 7)
    found = statistic.measure(images(n)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1000, DEFAULT),
        (4000, [4 * t for t in DEFAULT]),
        (100, [0, 1, 3, 10, 20, 30, 40, 50, 60, 80]),
        (4, [0, 1, 2, 3]),
        (1, [0]),
    ],
)
def test_default_timesteps_are_spread_over_the_schedule(length, expected):
    assert list(MultiscaleLosses(gaussian(length=length)).timesteps) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": ()}, "timesteps of MultiscaleLosses must be different"),
        ({"timesteps": (1000,)}, r"from 0 to 999; got \(1000,\)"),
        ({"timesteps": (2, 2)}, "different"),
        ({"draws": 0}, "draws must be at least 1"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        MultiscaleLosses(gaussian(), **settings)
