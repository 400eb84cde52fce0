"""What a score must not depend on, and how often an alarm may be false, from model to decision."""

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from torch import nn

from fimetric import Detector, Features
from fimetric.calibration import Calibration
from fimetric.detectors import FishersMethod, FullGaussian, LayerwiseGaussian
from fimetric.models import build
from fimetric.objectives import Objective, standard_objective

SHAPE = (1, 8, 8)
KINDS = ("vae", "glow", "diffusion")


def images(n: int, seed: int) -> torch.Tensor:
    """Return smooth 8-bit images."""
    g = torch.Generator().manual_seed(seed)
    waves = torch.nn.functional.interpolate(torch.randn(n, 1, 3, 3, generator=g), 8, mode="bicubic")
    noisy = 0.5 + 0.15 * waves + 0.03 * torch.randn(n, *SHAPE, generator=g)
    return (255 * noisy.clamp(0, 1)).round() / 255


def generic(kind: str) -> Objective:
    """Return the objective of a tiny model whose weights are at no special place."""
    model = build(kind, "tiny", SHAPE).eval()
    g = torch.Generator().manual_seed(1)
    if kind == "glow":
        model.initialise(images(64, 7))
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=g)
    return standard_objective(model, draws=2 if kind == "vae" else 1)


def chunk_sizes(group_size: int) -> list[int]:
    """Return about 1, 7 and 64 samples, in whole groups."""
    return sorted({max(1, size // group_size) * group_size for size in (1, 7, 64)})


def shuffled(x: torch.Tensor, group_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the groups in another order, and that order."""
    order = torch.randperm(len(x) // group_size, generator=torch.Generator().manual_seed(0))
    return x.unflatten(0, (-1, group_size))[order].flatten(0, 1), order


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group_size", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_score_depends_on_the_group_alone(kind, group_size, dtype):
    double = dtype == torch.float64
    detector = Detector(generic(kind).to(dtype), group_size=group_size)
    # few sizes of batches: the engine plans each anew
    detector.fit(images(14 if group_size == 1 else 60, 0))
    # (data in which no activation lies within float32 rounding of a kink: its slope would flip)
    x = images(14 if group_size == 1 else 15, 2)
    other, order = shuffled(x, group_size)
    together = detector.features(x)
    expected, p = detector.score(together), detector.p_value(together)
    alive = detector.density.kept_
    assert alive.mean() > 0.8
    spread = np.subtract(*np.percentile(detector.calibration.scores, [75, 25]))
    # float64: sums in another order; float32: what the product promises
    norms = {"rtol": 0, "atol": 1e-9 if double else 1e-4}
    scores = {"rtol": 1e-9, "atol": 1e-9} if double else {"rtol": 0, "atol": 1e-3 * spread}
    places = np.arange(len(order))
    runs = [(size, x, places) for size in chunk_sizes(group_size)]
    for size, samples, rows in [*runs, (7 // group_size * group_size, other, order.numpy())]:
        found = Features.concatenate([detector.features(part) for part in samples.split(size)])
        norm = 0.5 * (found.values - together.values[rows])[:, alive]  # log of a norm
        np.testing.assert_allclose(norm, 0 * norm, **norms)
        np.testing.assert_allclose(detector.score(found), expected[rows], **scores)
        if double:  # in float32 a score may cross a calibration score
            np.testing.assert_array_equal(detector.p_value(found), p[rows])


class Scaled(nn.Module):
    """A network whose first weight is ``scale`` times its parameter."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(8, 6, generator=g).double() / scale)
        self.bias = nn.Parameter(torch.randn(8, generator=g).double())
        self.back = nn.Parameter(torch.randn(6, 8, generator=g).double() / 3)

    def forward(self, x):
        h = nn.functional.linear(x, self.scale * self.weight, self.bias)
        return torch.tanh(h) @ self.back.T


def losses_of(model: nn.Module, factor: float = 1.0) -> Objective:
    return Objective(lambda x: factor * (model(x) - x).square().sum(1), model)


def vectors(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("density", [LayerwiseGaussian, FullGaussian, FishersMethod])
@pytest.mark.parametrize("group_size", [1, 5])
@pytest.mark.parametrize(
    "objective",
    [losses_of(Scaled(), 7.3), losses_of(Scaled(3.0))],
    ids=["loss times 7.3", "theta = 3 phi"],
)
def test_units_of_loss_and_parameters_do_not_count(objective, group_size, density):
    x = vectors(200, 1)
    own = Detector(losses_of(Scaled()), density(), group_size).fit(vectors(300, 0))
    other = Detector(objective, density(), group_size).fit(vectors(300, 0))
    values = own.features(x).values - other.features(x).values
    assert np.abs(values).max() > 1  # the features do change
    # float64: logarithms of norms, some thousand operations
    np.testing.assert_allclose(other.score(x), own.score(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(other.p_value(x), own.p_value(x))


@pytest.fixture(scope="module")
def calibrated() -> tuple[Detector, np.ndarray]:
    """Return a detector with 500 calibration scores, and the scores of 1,000 other samples."""
    detector = Detector(losses_of(Scaled())).fit(vectors(1000, 0))
    return detector, detector.score(vectors(1000, 1))


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_number_of_false_alarms(calibrated, alpha):
    detector, scores = calibrated
    n, m = len(detector.calibration), len(scores)
    assert (n, m) == (500, 1000)
    k = int(alpha * (n + 1))
    alarms = detector.predict(vectors(1000, 1), alpha).sum()
    low, high = betabinom(m, k, n + 1 - k).ppf([0.005, 0.995])
    assert low <= alarms <= high
    assert (low, high) > (m * alpha / 3, m * alpha)  # the band is no formality


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_rate_of_false_alarms_over_calibration_sets(calibrated, alpha):
    detector, scores = calibrated
    n = len(detector.calibration)
    pool = np.concatenate([detector.calibration.scores, scores])
    random = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        drawn = random.permutation(pool)
        rates.append(Calibration(drawn[:n]).reject(drawn[n:], alpha).mean())
    error = np.std(rates, ddof=1) / 200**0.5
    k = int(alpha * (n + 1))
    assert abs(np.mean(rates) - k / (n + 1)) < 3 * error
    assert error < 0.02 * alpha
