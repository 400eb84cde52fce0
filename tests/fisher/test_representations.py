"""Inverses invert, log-determinants are those of the Jacobian, each by an oracle of its own."""

import colorsys
import math

import pytest
import torch
from PIL import Image

from fimetric.fisher.jacobians import log_det_by_jacrev
from fimetric.fisher.representations import (
    HSV,
    Changed,
    ChannelAffine,
    Logit,
    Permutation,
    Representation,
    TrainableAffine,
    YCbCr,
    dequantised,
)

MAPS = {
    "logit": Logit(),
    "logit of a wide margin": Logit(0.1),
    "affine": ChannelAffine([2.0, -3.0, 0.5], [1.0, 0.0, -4.0]),
    "one scale for all": ChannelAffine(-1.0, 1.0),
    "trainable": TrainableAffine(3, 0.3),
    "permutation": Permutation(5),
    "YCbCr": YCbCr(),
    "HSV": HSV(),
    "HSV, all but ties": HSV(0.0),
    "HSV with many pixels left": HSV(0.3),
}
# float64; D terms of size up to log(1e6) in the log-determinants
EXACT = {"rtol": 1e-11, "atol": 1e-10}


def images(n: int = 4, shape=(3, 4, 6), seed: int = 0) -> torch.Tensor:
    """8-bit images, a third of their pixels grey, dequantised."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (n, *shape), generator=g).double() / 255
    grey = torch.rand(n, 1, *shape[1:], generator=g) < 1 / 3
    x = torch.where(grey, x[:, :1].expand_as(x), x)
    return dequantised(x, 256, g)


@pytest.fixture(params=MAPS)
def transform(request) -> Representation:
    return MAPS[request.param]


def test_the_inverse_undoes_the_map(transform):
    x = images()
    changed = transform(x)
    assert (changed.y - x).abs().max() > 1e-3  # it does something
    assert (transform.inverse(changed.y, changed.untouched) - x).abs().max() < 1e-12


def test_the_log_determinant_is_that_of_the_whole_jacobian(transform):
    x = images()
    log_det = transform(x).log_det.detach()
    whole = []
    for image in x:
        jacobian = torch.autograd.functional.jacobian(lambda v: transform(v[None]).y[0], image)
        whole.append(torch.linalg.slogdet(jacobian.reshape(image.numel(), -1))[1])
    torch.testing.assert_close(log_det, torch.stack(whole), **EXACT)
    by_parts = torch.stack([log_det_by_jacrev(transform, image) for image in x])
    torch.testing.assert_close(log_det, by_parts, **EXACT)


def test_a_sample_is_mapped_by_itself(transform):
    x = images()
    together = transform(x)
    for i in range(len(x)):
        alone = transform(x[i : i + 1])
        torch.testing.assert_close(alone.y[0], together.y[i], **EXACT)
        torch.testing.assert_close(alone.log_det[0], together.log_det[i], **EXACT)


def test_nothing_that_comes_in_is_changed(transform):
    x = images()
    before = x.clone()
    changed = transform(x)
    y = changed.y.detach().clone()
    transform.inverse(changed.y, changed.untouched)
    assert torch.equal(x, before) and torch.equal(changed.y, y)


def test_hue_saturation_and_value_are_those_of_the_standard_library():
    x = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(1)).double()
    y = HSV(0.0)(x).y[0].flatten(1).T
    expected = [colorsys.rgb_to_hsv(*pixel) for pixel in x[0].flatten(1).T.tolist()]
    torch.testing.assert_close(
        y, torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=1e-13
    )


TIES = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "cyan": (0.0, 1.0, 1.0),
    "magenta": (1.0, 0.0, 1.0),
    "nearly yellow": (1.0, math.nextafter(1.0, 0.0), 0.0),
    "hue just below 1": (0.9, 0.1, math.nextafter(0.1, 1.0)),
    "hue just above 0": (0.9, math.nextafter(0.1, 1.0), 0.1),
}


@pytest.mark.parametrize("name", TIES)
def test_hues_at_the_edges_of_their_sectors(name):
    x = torch.tensor(TIES[name], dtype=torch.float64).view(1, 3, 1, 1)
    transform = HSV()
    changed = transform(x)
    hue = changed.y[0, 0, 0, 0]
    assert 0 <= hue < 1
    assert abs(hue - colorsys.rgb_to_hsv(*TIES[name])[0]) % 1 < 1e-15
    assert not changed.untouched.any()
    assert (transform.inverse(changed.y, changed.untouched) - x).abs().max() < 1e-12
    # at a tie each side has a derivative, and |det| is the same on both
    log_det = -torch.log(6 * x.max() * (x.max() - x.min()))
    torch.testing.assert_close(changed.log_det[0], log_det, **EXACT)
    torch.testing.assert_close(log_det_by_jacrev(transform, x[0]), log_det, **EXACT)


def test_singular_pixels_are_left_as_they_are_and_marked():
    x = torch.full((1, 3, 1, 5), 0.5, dtype=torch.float64)
    spread = torch.tensor([0.0, 0.5 / 256, 1 / 256, 2 / 256, 0.5])
    x[0, 1, 0] = 0.5 - spread  # the least of the three
    changed = HSV()(x)
    assert changed.untouched.tolist() == [[[True, True, False, False, False]]]
    assert torch.equal(changed.y[..., :2], x[..., :2])
    expected = -sum(math.log(6 * 0.5 * float(c)) for c in spread[2:])
    assert changed.log_det.item() == pytest.approx(expected, rel=1e-12)
    assert HSV(0.0)(x).untouched.tolist() == [[[True, False, False, False, False]]]


def test_black_images_have_no_hue_at_all():
    x = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    for least in (0.0, 1 / 256):
        changed = HSV(least)(x)
        assert changed.untouched.all() and torch.equal(changed.y, x)
        assert torch.equal(changed.log_det, torch.zeros(2).double())


def test_a_mask_that_travels_with_y_is_obeyed():
    """Rounding may move a pixel over the threshold; the mask says on which side it was."""
    x = images(1)
    untouched = torch.rand(1, 4, 6, generator=torch.Generator().manual_seed(3)) < 0.5
    changed = HSV(0.0)(x, untouched)
    assert torch.equal(changed.untouched, untouched)
    places = untouched[:, None].expand_as(x)
    assert torch.equal(changed.y[places], x[places])
    assert (HSV(0.9).inverse(changed.y, untouched) - x).abs().max() < 1e-12
    assert (HSV(0.9).inverse(changed.y) - x).abs().max() > 1e-3  # without it x is not found


def test_luminance_and_chrominance_are_those_of_pillow():
    x = torch.randint(256, (3, 8, 9), generator=torch.Generator().manual_seed(4))
    y = YCbCr()(x[None].double() / 255).y[0] * 255
    picture = Image.fromarray(x.permute(1, 2, 0).byte().numpy()).convert("YCbCr")
    expected = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(8, 9, 3)
    # pillow rounds to whole numbers, and puts the middle of chrominance at 128, not at 127.5
    shift = torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1)
    assert (y + shift - expected.permute(2, 0, 1)).abs().max() < 1.01
    assert YCbCr()(torch.ones(1, 3, 1, 1)).y.flatten().tolist() == pytest.approx([1.0, 0.5, 0.5])


def test_float32_stays_float32_and_keeps_its_digits(transform):
    x = images().float().clamp(0, 1)
    changed = transform(x)
    assert changed.y.dtype == changed.log_det.dtype == torch.float32
    expected = transform(x.double())
    # the logit at its margin of 1e-6 loses four of seven digits
    torch.testing.assert_close(changed.y.double(), expected.y, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("transform", [Logit(), ChannelAffine(2.0), ChannelAffine([1.0, 2, 3, 4])])
def test_vectors_have_channels_alone(transform):
    x = images(5, (3, 2, 2)).flatten(1)[:, :4]
    changed = transform(x)
    assert (transform.inverse(changed.y) - x).abs().max() < 1e-12
    expected = torch.stack([log_det_by_jacrev(transform, row) for row in x])
    torch.testing.assert_close(changed.log_det, expected, **EXACT)


def test_permutations_of_two_seeds_differ_and_keep_all_values():
    x = images()
    y, z = Permutation(0)(x).y, Permutation(1)(x).y
    assert not torch.equal(y, z) and torch.equal(y, Permutation(0)(x).y)
    assert torch.equal(y.flatten(1).sort().values, x.flatten(1).sort().values)


class Neighbours(Representation):
    """Adds to each pixel its left neighbour, and says that it does not."""

    name = "neighbours"
    per_pixel = True

    def forward(self, x, untouched=None):
        return Changed(x + x.roll(1, -1).tril(-1), x.new_zeros(len(x)))

    def inverse(self, y, untouched=None):
        raise NotImplementedError


def test_a_map_that_mixes_pixels_and_denies_it_is_found():
    with pytest.raises(ValueError, match="neighbours has per_pixel = True, but pixels 0 to"):
        log_det_by_jacrev(Neighbours(), images(1, (3, 10, 10))[0])


def test_a_jacobian_too_large_is_refused():
    with pytest.raises(ValueError, match="Jacobian of permutation at 4800 dimensions is too large"):
        log_det_by_jacrev(Permutation(), torch.zeros(3, 40, 40))
    log_det_by_jacrev(HSV(), images(1, (3, 40, 40))[0])  # pixel after pixel, at any size


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Logit(0.0), "margin must lie in"),
        (lambda: Logit(0.5), "margin must lie in"),
        (lambda: ChannelAffine([1.0, 0.0]), "nowhere 0"),
        (lambda: ChannelAffine(math.nan), "must be finite"),
        (lambda: HSV(-0.1), "least must lie in"),
        (lambda: ChannelAffine([1.0, 2.0])(images()), "2 values for data of 3 channels"),
        (lambda: YCbCr()(images(2, (1, 4, 4))), r"RGB to YCbCr takes colour images \(N, 3, H, W\)"),
        (lambda: HSV()(images(2, (1, 4, 4))), r"RGB to HSV takes colour images \(N, 3, H, W\)"),
        (lambda: YCbCr()(torch.rand(5, 3)), "RGB to YCbCr takes colour images"),
        (lambda: Logit()(images() + 0.5), r"logit takes data in \[-1e-06, 1\]; these lie in"),
        (lambda: HSV()(images() - 0.5), r"RGB to HSV takes data in \[0, 1\]"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dequantised_levels_stay_in_their_bins_each_by_noise_of_its_own():
    x = torch.arange(16).expand(50, 16) / 15
    found = dequantised(x, 16, torch.Generator().manual_seed(0))
    assert found.dtype == torch.float64
    assert torch.equal((found * 16).floor(), torch.arange(16).double().expand(50, 16))
    noise = found * 16 - torch.arange(16)
    assert len(noise.unique()) == noise.numel()
    assert abs(noise.mean() - 0.5) < 4 * math.sqrt(1 / 12 / noise.numel())
