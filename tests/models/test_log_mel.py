"""Spectrograms against loops over frames and bands, and sounds whose power is known."""

import math
import sys

import numpy as np
import pytest
import torch

from fimetric.models.log_mel import FLOOR, LogMel


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def slaney(hertz: float) -> float:
    """Return mels: linear below 1,000 Hz, and 27 to a factor of 6.4 above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def corners(rate: int, bands: int) -> np.ndarray:
    grid = np.linspace(0, rate / 2, 200_001)
    mels = np.array([slaney(f) for f in grid])
    return np.interp(np.linspace(0, mels[-1], bands + 2), mels, grid)


def test_spectrograms_are_those_of_a_loop():
    rate, bands, hop, window = 8000, 6, 8, 32
    x = noise(2, 64)
    found = LogMel(rate, bands, hop, window).double()(x)
    assert found.shape == (2, 1, bands, 8)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    edges, frequencies = corners(rate, bands), np.arange(window // 2 + 1) * rate / window
    for n in range(2):
        whole = np.pad(x[n].numpy(), 12, mode="reflect")
        for i in range(8):
            frame = whole[i * hop : i * hop + window] * taper
            power = np.abs(np.fft.rfft(frame)) ** 2 / (taper**2).sum()
            for k in range(bands):
                low, middle, high = edges[k : k + 3]
                up, down = (
                    (frequencies - low) / (middle - low),
                    (high - frequencies) / (high - middle),
                )
                weights = np.clip(np.minimum(up, down), 0, None)
                expected = math.log((weights * power).sum() / weights.sum() + FLOOR)
                # float32 filters, and corners by interpolation
                assert found[n, 0, k, i].item() == pytest.approx(expected, abs=1e-4)


def test_white_noise_has_its_variance_in_every_band():
    power = LogMel()(noise(400, 2048)).exp().mean((0, 1, 3))
    # 12,800 frames that overlap: some 1% of the mean
    torch.testing.assert_close(power, torch.full_like(power, 0.01), rtol=0.04, atol=0)


def test_a_tone_is_loudest_in_the_band_of_its_frequency():
    edges = corners(8000, 32)
    for k in (3, 12, 30):
        tone = torch.sin(2 * math.pi * edges[k + 1] / 8000 * torch.arange(2048.0))[None]
        assert (LogMel()(tone)[0, 0].argmax(0) == k).all()


def test_silence_is_the_floor_and_frames_are_centred_on_their_values():
    x = torch.zeros(1, 2048)
    found = LogMel()(x)
    assert found.shape == (1, 1, 32, 32)
    torch.testing.assert_close(found, torch.full_like(found, math.log(FLOOR)))
    x[0, 5 * 64 + 32] = 1.0  # in the middle of the fifth frame's values
    assert LogMel()(x)[0, 0].sum(0).argmax() == 5


def test_lengths_and_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="cut them to a multiple of 64 above 96"):
        LogMel()(torch.zeros(1, 2000))
    with pytest.raises(ValueError, match="clips of 64 values"):
        LogMel()(torch.zeros(1, 64))
    with pytest.raises(ValueError, match="longer than the hop by an even number"):
        LogMel(hop=64, window=64)
    with pytest.raises(ValueError, match="20 bands of 17 frequencies"):
        LogMel(8000, 20, 8, 32)


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_a_band_without_a_frequency_is_refused():
    with pytest.raises(ValueError, match="hold none of the 17 frequencies"):
        LogMel(48000, 16, 8, 32)


def test_without_transformers_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.audio_utils", None)
    with pytest.raises(ImportError, match=r"fimetric\[audio\]"):
        LogMel()
