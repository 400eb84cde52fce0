"""Code lengths are the bytes of files that can be read again."""

import io
import math
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, features
from torch import nn

from fimetric.data.codes import png_bits_per_dim
from fimetric.detectors import InputComplexity
from fimetric.objectives import Objective
from fimetric.statistics.complexity import CodeLengths


@pytest.fixture
def statistic():
    model = nn.Linear(1, 1)
    return CodeLengths(Objective(lambda x: model(x.mean((1, 2, 3))[:, None])[:, 0], model))


def images(n, channels, side=8, seed=0):
    levels = np.random.default_rng(seed).integers(256, size=(n, channels, side, side))
    return torch.from_numpy(levels).float() / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [1, 5, 32])
def test_lengths_are_those_of_the_files(statistic, channels, side):
    x = images(4, channels, side)
    table = statistic.measure(x)
    assert statistic.names == ["png", *["jpeg2000"] * features.check("jpg_2000"), "zlib"]
    assert table.dtype == torch.float64
    for row, pixels in zip(table, (255 * x).round().numpy().astype(np.uint8), strict=True):
        picture = Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0).copy())
        found = dict(zip(statistic.names, row / (8 * math.log(2)), strict=True))
        out = io.BytesIO()
        picture.save(out, "PNG", optimize=True)
        assert found["png"].item() == pytest.approx(len(out.getvalue()), rel=1e-12)
        packed = zlib.compress(pixels.tobytes(), 9)
        assert found["zlib"].item() == pytest.approx(len(packed), rel=1e-12)
        if "jpeg2000" in found:
            out = io.BytesIO()
            picture.save(out, "JPEG2000", no_jp2=True)
            assert found["jpeg2000"].item() == pytest.approx(len(out.getvalue()), rel=1e-12)
            again = np.asarray(Image.open(io.BytesIO(out.getvalue())))
            np.testing.assert_array_equal(again, np.asarray(picture))  # without loss


def test_png_is_the_baseline_in_nats(statistic):
    x = images(5, 3)
    bits = statistic.measure(x)[:, 0].mean().item() / (x[0].numel() * math.log(2))
    assert bits == pytest.approx(png_bits_per_dim(x), rel=1e-12)


def test_plain_images_are_shorter_than_noise_and_the_ratio_says_so(statistic):
    noise, plain = images(20, 1, 32), torch.full((20, 1, 32, 32), 7 / 255)
    assert (statistic.measure(plain).amax(0) < statistic.measure(noise).amin(0)).all()
    table = statistic.features(torch.cat([noise, plain]), batch_size=7, progress=False)
    scores = InputComplexity("min").fit(table).score(table)
    lengths = statistic.measure(torch.cat([noise, plain])).amin(1).numpy()
    np.testing.assert_allclose(scores, table.losses[:, 0] - lengths, rtol=1e-12)


def test_a_sample_alone_and_a_batch_as_a_dictionary(statistic):
    x = images(3, 1)
    assert torch.equal(statistic.measure({"x": x})[2:], statistic.measure(x[2:]))


def test_without_openjpeg_the_column_is_left_out(statistic, monkeypatch):
    before = statistic.describe()
    monkeypatch.setattr("fimetric.data.codes.features.check", lambda name: False)
    assert statistic.names == ["png", "zlib"]
    assert statistic.measure(images(2, 1)).shape == (2, 2)
    assert statistic.describe() != before


def test_what_is_no_image_is_refused(statistic):
    with pytest.raises(ValueError, match="8-bit images: values k/255"):
        statistic.measure(images(2, 1) + 0.5 / 255)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        statistic.measure(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        statistic.measure(images(1, 2))
