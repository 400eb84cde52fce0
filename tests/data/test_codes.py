"""All baselines are lengths of codes that exist."""

import io
import math
import os
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from fimetric.data import Samples, Texts, load
from fimetric.data.codes import (
    gaussian_bits_per_dim,
    png_bits_per_dim,
    simple_codes,
    unigram_bits_per_byte,
    zlib_bits_per_byte,
)


def grid(levels: np.ndarray) -> Samples:
    return Samples(torch.from_numpy(levels.astype(np.uint8)))


def test_gaussian_code_reaches_the_entropy_of_gaussian_levels():
    rng = np.random.default_rng(0)
    levels = np.clip(rng.normal(128, 12, size=(4000, 1, 2, 2)).round(), 0, 255)
    entropy = 0.5 * np.log2(2 * np.pi * np.e * 12**2)
    found = gaussian_bits_per_dim(grid(levels[:2000]), grid(levels[2000:]))
    # 8,000 draws of a code length with deviation .7 bits
    assert found == pytest.approx(entropy, abs=0.03)


def test_gaussian_code_is_no_shorter_than_a_code_can_be():
    # all 256 levels in one pixel, fitted on the same: the probabilities sum to one (Kraft), so
    # uniform levels cost 8 bits at least
    levels = np.arange(256).reshape(256, 1, 1, 1)
    assert gaussian_bits_per_dim(grid(levels), grid(levels)) > 8


def test_constant_pixels_cost_little_and_surprises_are_finite():
    black = grid(np.zeros((50, 1, 4, 4)))
    assert gaussian_bits_per_dim(black, black) < 0.01
    assert 0.01 < gaussian_bits_per_dim(black, grid(np.full((3, 1, 4, 4), 255))) < np.inf
    noisy = np.zeros((50, 1, 4, 4))
    noisy[7, 0, 0, 0] = 3
    assert gaussian_bits_per_dim(grid(noisy), grid(noisy)) < 0.3


def test_png_is_the_length_of_the_files():
    rng = np.random.default_rng(0)
    levels = rng.integers(256, size=(3, 3, 8, 8), dtype=np.uint8)
    total = 0
    for pixels in levels:
        out = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0).copy()).save(out, "PNG", optimize=True)
        total += len(out.getvalue())
    assert png_bits_per_dim(grid(levels)) == pytest.approx(8 * total / levels.size)
    assert png_bits_per_dim(grid(levels).tensor()) == png_bits_per_dim(grid(levels))
    assert png_bits_per_dim(grid(np.zeros((2, 1, 64, 64)))) < 0.3


def test_values_that_are_no_levels_are_refused():
    half_way = torch.full((2, 1, 4, 4), 0.5 / 255)
    for bad in (half_way, half_way - 1, half_way + 2):
        with pytest.raises(ValueError, match="8-bit"):
            png_bits_per_dim(bad)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        png_bits_per_dim(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        png_bits_per_dim(torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="shapes differ"):
        gaussian_bits_per_dim(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 8, 8))


@pytest.mark.skipif("FIMETRIC_DATA" not in os.environ, reason="FIMETRIC_DATA is not set")
def test_real_images_are_compressible():
    train, test = (load("fashion_mnist", split, limit=500) for split in ("train", "test"))
    assert 3 < png_bits_per_dim(test) < 6
    assert 4 < gaussian_bits_per_dim(train, test) < 8


def test_bytes_cost_what_their_frequency_says():
    train = Texts(["aab", "é"])  # five bytes, and each of 256 once more
    cost = {"a": -math.log2(3 / 261), "b": -math.log2(2 / 261), "z": -math.log2(1 / 261)}
    found = unigram_bits_per_byte(train, Texts(["ab", "z"]))
    assert found == pytest.approx(((cost["a"] + cost["b"]) / 2 + cost["z"]) / 2, rel=1e-12)
    assert unigram_bits_per_byte(train, Texts(["é"])) == pytest.approx(cost["b"], rel=1e-12)


def test_frequencies_of_bytes_reach_their_entropy():
    words = np.random.default_rng(0).choice(list("aabc"), size=(2, 200_000))
    train, test = (Texts(["".join(row)]) for row in words)
    # entropy 1.5; a code length of standard deviation .5 has an error of .001
    assert unigram_bits_per_byte(train, test) == pytest.approx(1.5, abs=0.006)


def test_zlib_packs_each_text_by_itself():
    texts = ["ab" * 500, "x"]
    sizes = [len(zlib.compress(text.encode(), 9)) for text in texts]
    expected = (8 * sizes[0] / 1000 + 8 * sizes[1]) / 2
    assert zlib_bits_per_byte(Texts(texts)) == pytest.approx(expected, rel=1e-12)


def test_simple_codes_are_those_of_pictures_or_of_texts():
    texts = Texts(["aab"]), Texts(["ab", "z"])
    assert simple_codes(*texts) == {
        "single bytes": unigram_bits_per_byte(*texts),
        "zlib": zlib_bits_per_byte(texts[1]),
    }
    levels = np.random.default_rng(0).integers(0, 255, size=(9, 1, 4, 4))
    pictures = grid(levels[:5]), grid(levels[5:])
    assert simple_codes(*pictures) == {
        "per-pixel Gaussian": gaussian_bits_per_dim(*pictures),
        "PNG": png_bits_per_dim(pictures[1]),
    }
    rows = Samples(torch.zeros(3, 2))
    assert simple_codes(rows, rows) == {}
