"""Any batch, in any container, is refused where it follows another convention, or scored as such.

FIMETRIC_CHECK=long draws many more batches, and other ones each time.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fimetric import Detector
from fimetric.objectives import Objective

LONG = os.environ.get("FIMETRIC_CHECK") == "long"


def examples(few: int) -> Any:
    return settings(
        max_examples=500 if LONG else few,
        derandomize=not LONG,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def pictures(seed: int, n: int, shape: tuple[int, ...], smooth: bool) -> Tensor:
    """Return numbers 0..255 of which each sample has both ends, whole ones unless smooth."""
    generator = torch.Generator().manual_seed(seed)
    x = 255 * torch.rand(n, *shape, generator=generator)
    x = (x if smooth else x.round()).flatten(1)
    x[:, 0], x[:, -1] = 0, 255
    return x.view(n, *shape)


CONVENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "k / 255": lambda k: k / 255,
    "2k / 255 - 1": lambda k: 2 * k / 255 - 1,
    "k": lambda k: k,
    "k, integers": lambda k: k.long(),
}
SHAPES = [(1, 8, 8), (3, 5, 4), (8, 8), (1, 4, 16)]
CONTAINERS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda x: x,
    "array": lambda x: x.numpy(),
    "double": lambda x: x.double() if x.is_floating_point() else x,
    "dictionary": lambda x: {"x": x, "label": torch.zeros(len(x))},
    "pair": lambda x: (x, torch.zeros(len(x))),
    "dataset": lambda x: TensorDataset(x),
    "loader": lambda x: DataLoader(TensorDataset(x), batch_size=2),
    "generator": lambda x: (part for part in x.split(2)),
    "not contiguous": lambda x: x.repeat_interleave(2, 0)[::2],
    "needs a gradient": lambda x: x.clone().requires_grad_() if x.is_floating_point() else x,
}


class Gaussian(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.scale = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(self.mean, self.scale).log_prob(x.float()).flatten(1)


@functools.cache
def fitted(convention: str, shape: tuple[int, ...], smooth: bool) -> Detector:
    model = Gaussian()
    detector = Detector(Objective(lambda x: -model(x).sum(1), model), "layerwise-gaussian")
    return detector.fit(CONVENTIONS[convention](pictures(0, 24, shape, smooth)))


drawn = {
    "seed": st.integers(1, 10**6),
    "n": st.integers(1, 5),
    "shape": st.sampled_from(SHAPES),
    "container": st.sampled_from(sorted(CONTAINERS)),
    "own": st.sampled_from(sorted(CONVENTIONS)),
    "smooth": st.booleans(),
}


def whole(convention: str, smooth: bool) -> bool:
    """Return whether the numbers are smooth where the convention can hold such."""
    return smooth and convention != "k, integers"


@examples(30)
@given(**drawn)
def test_the_same_convention_is_scored_as_the_plain_tensor(seed, n, shape, container, own, smooth):
    smooth = whole(own, smooth)
    detector = fitted(own, shape, smooth)
    x = CONVENTIONS[own](pictures(seed, n, shape, smooth))
    expected = detector.score(x)
    np.testing.assert_allclose(detector.score(CONTAINERS[container](x)), expected, rtol=1e-4)


@examples(30)
@given(**drawn, other=st.sampled_from(sorted(CONVENTIONS)))
def test_another_convention_is_never_taken(seed, n, shape, container, own, smooth, other):
    smooth = whole(own, smooth) and whole(other, smooth)
    if own == other:
        return
    x = CONVENTIONS[other](pictures(seed, n, shape, smooth))
    if smooth and other == "k / 255" and n == 1:
        return  # one bright picture in [-1, 1], or a dark one in 0..255, may look like this
    if smooth and other == "k / 255" and container in ("loader", "generator"):
        container = "tensor"  # in portions of one, of which the same is true
    with pytest.raises((ValueError, TypeError), match=r"expected|lie in"):
        fitted(own, shape, smooth).score(CONTAINERS[container](x))


@examples(25)
@given(**drawn, other=st.sampled_from([*SHAPES, (8,), (2, 8, 8), (1, 9, 8), (1, 1, 8, 8)]))
def test_another_shape_is_never_taken(seed, n, shape, container, own, smooth, other):
    if shape == other:
        return
    smooth = whole(own, smooth)
    x = CONVENTIONS[own](pictures(seed, n, other, smooth))
    with pytest.raises(ValueError, match="expected"):
        fitted(own, shape, smooth).score(CONTAINERS[container](x))


STRANGE: dict[str, Callable[[Tensor], Tensor]] = {
    "black": torch.zeros_like,
    "white": lambda k: torch.full_like(k, 255),
    "grey": lambda k: torch.full_like(k, 128),
    "dim": lambda k: (k / 2).round(),
    "bright": lambda k: 255 - (k / 2).round(),
    "of two levels": lambda k: 255 * (k > 128).float(),
    "inverted": lambda k: 255 - k,
}


@examples(25)
@given(**drawn, strange=st.sampled_from(sorted(STRANGE)))
def test_strange_pictures_of_the_same_convention_are_scored(
    seed, n, shape, container, own, smooth, strange
):
    smooth = whole(own, smooth)
    detector = fitted(own, shape, smooth)
    x = CONVENTIONS[own](STRANGE[strange](pictures(seed, n, shape, False)))
    assert detector.score(CONTAINERS[container](x)).shape == (n,)


@examples(30)
@given(
    seed=st.integers(1, 10**6),
    columns=st.integers(1, 6),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    far=st.sampled_from([0.0, 1.3, 100.0, -1e6]),
    container=st.sampled_from(sorted(CONTAINERS)),
)
def test_tables_are_free(seed, columns, scale, far, container):
    x = scale * torch.randn(5, columns, generator=torch.Generator().manual_seed(seed))
    detector = of_a_table(columns)
    strange = x + far * torch.eye(5, columns)  # one column of each row
    expected = detector.score(strange)
    np.testing.assert_allclose(detector.score(CONTAINERS[container](strange)), expected, rtol=1e-4)
    with pytest.raises(ValueError, match="expected"):
        detector.score(CONTAINERS[container](torch.cat([strange, strange], 1)))


@functools.cache
def of_a_table(columns: int) -> Detector:
    model = Gaussian()
    detector = Detector(Objective(lambda x: -model(x).sum(1), model), "layerwise-gaussian")
    return detector.fit(torch.rand(24, columns, generator=torch.Generator().manual_seed(0)))
