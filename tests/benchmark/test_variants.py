"""Variants of images: what each recipe keeps, and what it changes."""

import pytest
import torch

from fimetric.benchmark.variants import NEAR, OUTLIERS, make
from fimetric.data import Samples

ALL = [*NEAR, *OUTLIERS]


@pytest.fixture
def images():
    return Samples(torch.randint(256, (6, 3, 16, 32), dtype=torch.uint8), name="own")


@pytest.mark.parametrize("recipe", ALL)
def test_a_variant_is_as_many_other_images_of_the_same_shape_and_the_same_each_time(recipe, images):
    square = Samples(images.values[..., :16], name="own")
    made, again = make(recipe, square, seed=1), make(recipe, square, seed=1)
    assert made.values.dtype == torch.uint8
    assert made.values.shape == square.values.shape
    assert made.ids == square.ids
    assert recipe in made.name
    assert torch.equal(made.values, again.values)
    assert all((a != b).any() for a, b in zip(made.values, square.values, strict=True))


def test_shuffling_patches_keeps_each_patch(images):
    made = make("patches of 8 shuffled", images, seed=3)
    before = images.values.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    after = made.values.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    for a, b in zip(before.flatten(2), after.flatten(2), strict=True):
        assert sorted(map(tuple, a.tolist())) == sorted(map(tuple, b.tolist()))


def test_pairs_never_join_an_image_with_itself(images):
    x = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 1, 8, 8) * 40
    made = make("halves of two", Samples(x.clone(), name="flat"), seed=0).values
    assert (made[:, 0, 0, 0] == x[:, 0, 0, 0]).all()
    assert (made[:, 0, 0, -1] != x[:, 0, 0, 0]).all()


def test_means_enlargements_and_tiles_are_what_they_say():
    x = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    x[1] = 200
    x[:, :, 6:10, 6:10] = 100
    own = Samples(x, name="own")
    assert make("mean of two", own).values[0, 0, 0, 0] == 100
    assert (make("patch tiled", own).values == 100).all()
    middle = make("middle enlarged", own).values[0, 0]
    assert middle[0, 0] == 0 and middle[8, 8] == 100


def test_looks_are_what_they_say():
    x = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    x[0, 0, 0] = 200
    own = Samples(x, name="own")
    assert (make("rotated", own).values[0, 0, :, 0] == 200).all()
    assert (make("flipped", own).values[0, 0, -1] == 200).all()
    assert make("pale", own).values.unique().tolist() == [12, 112]  # about the mean, 25
    assert 0 < make("blurred", own).values[0, 0, 1, 4] < 200
    assert make("noisy", own).values.float().std() > 20


def test_what_is_no_image_and_an_unknown_recipe_are_refused():
    with pytest.raises(ValueError, match="no variant 'melted'; there are rotated"):
        make("melted", Samples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)))
    with pytest.raises(ValueError, match="divisible by 8"):
        make("rotated", Samples(torch.zeros(2, 1, 8, 12, dtype=torch.uint8)))
    with pytest.raises(ValueError, match="8-bit images"):
        make("rotated", Samples(torch.zeros(2, 3)))
