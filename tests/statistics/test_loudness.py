"""Energy against loops over frames, and sounds whose energy is known."""

import math

import numpy as np
import pytest
import torch

from fimetric.models import build
from fimetric.objectives import standard_objective
from fimetric.statistics import Loudness


@pytest.fixture(scope="module")
def statistic():
    return Loudness(standard_objective(build("wavenet", "tiny", (512,)).eval()))


def by_loop(clip: np.ndarray) -> list[float]:
    rms = math.sqrt(sum(v * v for v in clip) / len(clip))
    frames = [clip[a : a + 64] for a in range(0, len(clip), 64)]
    levels = [math.sqrt(sum(v * v for v in f) / len(f)) for f in frames]
    silent = sum(20 * math.log10(level / max(levels)) <= -40 for level in levels)
    return [math.log(rms), math.log(max(abs(clip)) / rms), silent / len(frames)]


@pytest.mark.parametrize(("n", "length"), [(1, 512), (8, 512), (3, 500), (64, 64), (2, 1)])
def test_numbers_are_those_of_a_loop(statistic, n, length):
    g = torch.Generator().manual_seed(0)
    loud = torch.rand(n, length, generator=g) ** 2 * torch.randn(n, length, generator=g)
    fading = torch.logspace(0, -4, length).expand(n, length)
    x = 0.2 * loud * fading
    expected = [by_loop(clip.astype(np.float64)) for clip in x.numpy()]
    np.testing.assert_allclose(statistic.measure(x).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_known_sounds(statistic):
    square = torch.tensor([0.5, -0.5]).repeat(1, 256)
    click = torch.zeros(1, 512)
    click[0, 0] = 1.0
    found = statistic.measure(torch.cat([square, click, torch.zeros(1, 512)])).tolist()
    assert found[0] == pytest.approx([math.log(0.5), 0, 0])
    assert found[1] == pytest.approx([-0.5 * math.log(512), 0.5 * math.log(512), 7 / 8])
    assert found[2] == pytest.approx([-15 * math.log(2), 0, 1])  # one step of 16 bits, all silent


def test_forty_decibels_count_as_silent_and_less_do_not(statistic):
    x = torch.ones(1, 512)
    x[0, 64:128], x[0, 128:192] = 0.0099, 0.0101
    assert statistic.measure(0.5 * x)[0, 2] == 1 / 8


def test_a_table_of_clips_and_what_is_no_clip(statistic):
    x = 0.1 * torch.randn(5, 512, generator=torch.Generator().manual_seed(1))
    found = statistic.features(x, batch_size=2, progress=False)
    assert found.names == ("log_rms", "crest", "silent")
    np.testing.assert_allclose(found.values, statistic.measure(x).numpy())
    with pytest.raises(ValueError, match="take sounds"):
        statistic.measure(x[:, None])
