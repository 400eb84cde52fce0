"""Goodness of fit against scipy, numpy and loops."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from fimetric.detectors import SmallestPValue
from fimetric.models import build
from fimetric.objectives import NegativeELBO, NegativeLogLikelihood
from fimetric.statistics.latents import MARGINAL, SITN, LatentFit

EXACT = {"rtol": 1e-9, "atol": 1e-9}  # float64 sums in another order


class Shift(nn.Module):
    """A flow that subtracts a number and shows its latents as they are."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def transform(self, x):
        return x - self.shift, x.new_zeros(len(x))

    def log_prob(self, x):
        return -0.5 * self.transform(x)[0].square().flatten(1).sum(1)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def fit(shape):
    return LatentFit(NegativeLogLikelihood(Shift()), shapes=[shape])


def columns(statistic, x):
    return dict(zip(statistic.names, statistic.measure(x).detach().numpy().T, strict=True))


def anderson_darling(z):
    """A^2 against N(0, 1), by a loop."""
    z, n = np.sort(z), len(z)
    total = 0.0
    for i in range(1, n + 1):
        total += (2 * i - 1) * (stats.norm.logcdf(z[i - 1]) + stats.norm.logsf(z[n - i]))
    return -n - total / n


def neighbours(z, axis):
    """Correlation of neighbours of z (C, H, W), by a loop."""
    z = z - z.mean()
    pairs = [
        z[index] * z[tuple(i + (a == axis) for a, i in enumerate(index))]
        for index in np.ndindex(z.shape)
        if index[axis] + 1 < z.shape[axis]
    ]
    return np.mean(pairs) / (z**2).mean()


def expected(z):
    """Return all columns of one sample's one level z (C, H, W)."""
    flat = z.ravel()
    power = np.abs(np.fft.rfft(flat)) ** 2
    composite = stats.anderson(flat, "norm", method="interpolate").statistic
    directions = {"level0/horizontal": 2, "level0/vertical": 1}
    return {
        "level0/mean": flat.mean(),
        "level0/log_variance": np.log(flat.var()),
        "level0/skewness": stats.skew(flat),
        "level0/excess_kurtosis": stats.kurtosis(flat),
        "level0/log_square": np.log((flat**2).mean()),
        "level0/kolmogorov_smirnov": stats.kstest(flat, "norm").statistic,
        "level0/log_anderson_darling": np.log(anderson_darling(flat)),
        **{name: neighbours(z, axis) for name, axis in directions.items() if z.shape[axis] > 1},
        "all/normality": np.log(composite),
        "all/spectrum": power.std(ddof=1) / power.mean(),
    }


@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 1, 7), (3, 4, 1)])
@pytest.mark.parametrize("power", [1, 3])
def test_statistics_of_one_level(shape, power):
    x = 0.3 + 1.2 * draws(4, *shape) ** power
    statistic = fit(shape)
    found = columns(statistic, x)
    for i, z in enumerate(x.numpy()):
        oracle = expected(z)
        assert list(found) == list(oracle)
        for name, value in oracle.items():
            np.testing.assert_allclose(found[name][i], value, **EXACT, err_msg=name)


def test_far_tails_are_finite_and_strange():
    found = columns(fit((50,)), torch.stack([draws(50), 1e6 * draws(50)]))
    assert all(np.isfinite(column).all() for column in found.values())
    assert found["level0/log_anderson_darling"][1] > found["level0/log_anderson_darling"][0] + 20
    assert set(found) == {*(f"level0/{name}" for name in MARGINAL), *SITN}


def test_constant_latents_are_finite():
    for value in (0.0, 2.0):
        found = columns(fit((2, 4, 4)), torch.full((1, 2, 4, 4), value).double())
        assert all(np.isfinite(column).all() for column in found.values())
        assert found["level0/skewness"] == found["level0/vertical"] == 0
        assert found["level0/log_variance"] < -50


def test_correlation_and_its_sign():
    row = torch.tensor([1.0, -1.0] * 8).double()
    stripes = row.expand(1, 1, 16, 16)
    found = columns(fit((1, 16, 16)), stripes)
    np.testing.assert_allclose(
        [found["level0/horizontal"][0], found["level0/vertical"][0]], [-1, 1]
    )
    white = columns(fit((1, 64, 64)), draws(1, 1, 64, 64))
    # 4,000 pairs, whose correlation deviates by .016
    assert abs(white["level0/horizontal"][0]) < 0.08
    assert white["all/spectrum"][0] == pytest.approx(1, abs=0.1)  # exponential at every frequency
    assert found["all/spectrum"][0] > 5


def glow():
    model = build("glow", "tiny", (1, 8, 8)).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double()
    return model


def images(n):
    g = torch.Generator().manual_seed(0)
    return (255 * torch.rand(n, 1, 8, 8, generator=g)).round().double() / 255


def test_levels_of_a_glow_with_the_objectives_noise():
    model, x = glow(), images(5)
    objective = NegativeLogLikelihood(model, levels=256, seed=3)
    statistic = LatentFit(objective)
    assert statistic.shapes == model.latent_shapes() and len(statistic.shapes) == 2
    latents, _ = model.transform(objective.dequantised(x))
    table = statistic.features(x, batch_size=2, progress=False)
    assert table.names == tuple(statistic.names)
    for level, z in enumerate(latents):
        one = LatentFit(NegativeLogLikelihood(Shift()), shapes=[z.shape[1:]])
        for name, column in columns(one, z.detach()).items():
            if name not in SITN:
                place = table.names.index(name.replace("level0", f"level{level}"))
                np.testing.assert_allclose(table.values[:, place], column, **EXACT)
    row = torch.cat([z.detach().flatten(1) for z in latents], 1)
    pooled = columns(fit(row.shape[1:]), row)
    for name in SITN:
        np.testing.assert_allclose(table.columns([name]).values[:, 0], pooled[name], **EXACT)
    other = LatentFit(NegativeLogLikelihood(model, levels=256, seed=4)).measure(x)
    assert not torch.allclose(statistic.measure(x), other)
    losses = objective(x).detach()
    np.testing.assert_allclose(table.losses[:, 0], losses, rtol=1e-12)


def test_the_score_of_the_paper_finds_what_is_no_noise():
    statistic = fit((1, 16, 16))
    own, smooth = draws(200, 1, 16, 16), draws(20, 1, 16, 16, seed=1)
    smooth = (smooth + smooth.roll(1, 3)) / 2**0.5  # still standard normal, pixel by pixel
    density = SmallestPValue(columns=SITN, typicality=False)
    density.fit(statistic.features(own, progress=False))
    scores = density.score(statistic.features(draws(200, 1, 16, 16, seed=2), progress=False))
    found = density.score(statistic.features(smooth, progress=False))
    assert np.median(found) > np.quantile(scores, 0.9)


def test_what_shows_no_latents_is_refused():
    vae = build("vae", "tiny", (1, 8, 8)).eval()
    with pytest.raises(TypeError, match="needs a NegativeLogLikelihood, not NegativeELBO"):
        LatentFit(NegativeELBO(vae))
    with pytest.raises(TypeError, match="Linear to have transform"):
        LatentFit(NegativeLogLikelihood(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"no latent_shapes\(\): pass LatentFit\("):
        LatentFit(NegativeLogLikelihood(Shift()))
    with pytest.raises(ValueError, match="two latents or more"):
        fit((1,))
    with pytest.raises(ValueError, match=r"the shapes \[\(5,\)\], not \[\(6,\)\]"):
        fit((6,)).measure(draws(2, 5))
