"""The likelihood paradox on a model that has it by construction."""

import numpy as np
import pytest
import torch
from torch import nn

from fimetric.data import Samples
from fimetric.fisher.paradox import constant, likelihood_paradox, smoothed, total_variation
from fimetric.objectives import Objective


@pytest.fixture
def noise():
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(256, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Samples(values, name="noise")


@pytest.fixture
def wants_detail():
    """A loss that is the squared difference of neighbours: flat images are the likeliest."""
    model = nn.Linear(1, 1)
    return Objective(lambda x: x.diff(dim=3).square().flatten(1).sum(1) + 0 * model.bias, model)


def test_flat_images_are_the_likeliest(wants_detail, noise):
    found = likelihood_paradox(wants_detail, noise, {"half": smoothed(noise, 0.5)}, progress=False)
    names = list(found.bits)
    assert names[:2] == ["noise", "half"]
    means = [found.bits[name].mean() for name in names if name != "half"]
    assert means == sorted(means, reverse=True)
    assert means[-2:] == [0, 0]  # one colour each, black
    assert all(e.value < 0.01 for name, e in found.auroc.items())
    assert found.rank_correlation > 0.9
    own = wants_detail(noise.tensor()).detach().numpy() / (192 * np.log(2))
    np.testing.assert_allclose(found.bits["noise"], own, rtol=1e-6)


def test_made_images_are_what_they_are_called(noise):
    flat = constant(noise)
    assert flat.values.float().std((2, 3)).max() == 0
    mean = noise.values.float().mean((2, 3))
    assert (flat.values[:, :, 0, 0].float() - mean).abs().max() <= 0.5
    assert total_variation(flat).max() == 0
    one = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    one[0, 0, 1, 1] = 240
    assert total_variation(Samples(one)) == pytest.approx([240 * 4 / 24])
    kept = smoothed(noise, 1e-6)
    assert kept.values.equal(noise.values)
    assert kept.ids == noise.ids


def test_other_than_8_bit_images_are_refused(noise):
    with pytest.raises(ValueError, match="8-bit"):
        smoothed(Samples(torch.rand(3, 1, 4, 4), name="float"), 1.0)
